// The way of one push through the node: key → verdict → queue → answer. One gate per event loop, with its own producer on
// the same loop, so a push that is admitted never changes threads.

internal import Foundation
public import IngestQueue
internal import KeyReplica
public import KeyStore
public import Logging
public import NIOCore

/// Decides on pushes and hands over what is admitted.
public struct PushGate: Sendable {
  private let replica: ReplicaDriver
  private let producer: QueueProducer
  private let node: String
  private let refusals: RefusalLog

  /// - Parameter producer: On the event loop that the gate is used on.
  public init(replica: ReplicaDriver, producer: QueueProducer, node: String, logger: Logger) {
    self.replica = replica
    self.producer = producer
    self.node = node
    refusals = RefusalLog(logger: logger)
  }

  public var eventLoop: any EventLoop { producer.eventLoop }

  /// Answers a push. Only on the gate's event loop. The future doesn't fail.
  public func answer(_ request: PushRequest) -> EventLoopFuture<PushAnswer> {
    guard let secret = request.key else { return eventLoop.makeSucceededFuture(.malformed(.missingKey)) }
    let key = KeyID(secret: secret)
    if let account = replica.admits(key) { return push(request, key: key, account: account) }
    return replica.verdict(of: key).hop(to: eventLoop).flatMap { verdict in
      switch verdict {
      case .admit(let account): return push(request, key: key, account: account)
      case .undecided(let why): return eventLoop.makeSucceededFuture(.undecided(why))
      case .refuse(let reason, let proof):
        refusals.note(key, reason, proof)
        return eventLoop.makeSucceededFuture(.refused(reason, proof))
      }
    }
  }

  /// Takes nothing more, and returns when everything that was taken has been answered, a bounded time.
  public func drain() async throws {
    try await producer.drain().get()
  }

  /// What the producer has in hand. The future doesn't fail.
  func producerCounters() -> EventLoopFuture<ProducerCounters> {
    eventLoop.submit { producer.counters }
  }

  private func push(_ request: PushRequest, key: KeyID, account: String) -> EventLoopFuture<PushAnswer> {
    let now = Int64(Date().timeIntervalSince1970 * 1000)
    let id: EnvelopeID
    if let idempotencyKey = request.idempotencyKey {
      id = EnvelopeID(keyID: key.bytes, idempotencyKey: idempotencyKey)
    } else {
      var generator = SystemRandomNumberGenerator()
      id = EnvelopeID(time: now, using: &generator)
    }
    let header = EnvelopeHeader(
      id: id, account: account, key: key.prefix, receivedAt: now, contentType: request.contentType,
      contentEncoding: request.contentEncoding, path: request.path, node: node, traceparent: request.traceparent)
    return producer.submit(header, payload: request.body).map { .accepted(id) }.flatMapErrorThrowing { error in
      // The producer fails with nothing else; should that change, nobody may take it for an acknowledgement.
      guard let failure = error as? PushFailure else { return .unavailable(.outcomeUnknown) }
      return switch failure {
      case .full: .unavailable(.queueFull)
      case .away: .unavailable(.queueAway)
      case .unknownOutcome: .unavailable(.outcomeUnknown)
      case .refused: .unavailable(.queueRefused)
      case .tooLarge(_, let limit): .tooLarge(limit: limit)
      case .shuttingDown: .unavailable(.shuttingDown)
      }
    }
  }
}
