// The way of one push through the node: key → verdict → queue. One gate per event loop, with its own producer on the same loop, so a push that
// is admitted never changes threads.

internal import ClientAddress
internal import Foundation
internal import IngestQueue
internal import IngestSpool
internal import KeyReplica
internal import KeyStore
internal import Logging
internal import NIOCore

/// What a connection asks about its requests. Only on the event loop of the connection.
protocol PushGating: Sendable {
  /// The account of a key that is admitted at once; nil if somebody has to be asked.
  func admits(_ key: KeyID) -> String?
  /// The verdict for a key, within a bounded time. The future doesn't fail.
  /// - Parameter sender: For the log; nil where it isn't known.
  func verdict(of key: KeyID, from sender: IPAddress?) -> EventLoopFuture<Verdict>
  /// Hands over a payload. The future fails with ``PushFailing`` and nothing else.
  func push(_ request: PushRequest, key: KeyID, account: String) -> EventLoopFuture<EnvelopeID>
}

/// Decides on pushes and hands over what is admitted.
struct PushGate: PushGating {
  private let replica: ReplicaDriver
  private let producer: QueueProducer
  private let spool: Spool?
  private let node: String
  private let refusals: RefusalLog
  private let rates: AccountRates?

  /// - Parameters:
  ///   - producer: On the event loop that the gate is used on.
  ///   - spool: Where payloads go while the queue is away; nil for nowhere.
  ///   - rates: What accounts may send; nil for as much as they like.
  init(
    replica: ReplicaDriver, producer: QueueProducer, spool: Spool?, node: String, rates: AccountRates?, logger: Logger
  ) {
    self.replica = replica
    self.producer = producer
    self.spool = spool
    self.node = node
    self.rates = rates
    refusals = RefusalLog(logger: logger)
  }

  var eventLoop: any EventLoop { producer.eventLoop }

  func admits(_ key: KeyID) -> String? { replica.admits(key) }

  func verdict(of key: KeyID, from sender: IPAddress?) -> EventLoopFuture<Verdict> {
    replica.verdict(of: key).hop(to: eventLoop).map { verdict in
      if case .refuse(let reason, let proof) = verdict {
        refusals.note(key, reason, proof, from: sender.map { "\($0)" })
      }
      return verdict
    }
  }

  func push(_ request: PushRequest, key: KeyID, account: String) -> EventLoopFuture<EnvelopeID> {
    if let rates, let status = rates.excess(of: account, now: .recent) {
      return eventLoop.makeFailedFuture(PushFailing.tooFast(status))
    }
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
    return handOver(header, request.body).map { id }.flatMapErrorThrowing { error in
      if let failing = error as? PushFailing { throw failing }
      // The producer fails with nothing else; should that change, nobody may take it for an acknowledgement.
      guard let failure = error as? PushFailure else { throw PushFailing.unavailable(.outcomeUnknown) }
      throw switch failure {
      case .full: PushFailing.unavailable(.queueFull)
      case .away: PushFailing.unavailable(.queueAway)
      case .unknownOutcome: PushFailing.unavailable(.outcomeUnknown)
      case .refused: PushFailing.unavailable(.queueRefused)
      case .tooLarge(_, let limit): PushFailing.tooLarge(limit: limit)
      case .shuttingDown: PushFailing.unavailable(.shuttingDown)
      }
    }
  }

  /// To the queue, and where that is away to the spool.
  private func handOver(_ header: EnvelopeHeader, _ payload: ByteBuffer) -> EventLoopFuture<Void> {
    let pushed = producer.submit(header, payload: payload)
    guard let spool else { return pushed }
    return pushed.flatMapError { [eventLoop] error in
      guard let failure = error as? PushFailure, failure.isForSpool else { return eventLoop.makeFailedFuture(error) }
      return spool.append(header, payload: payload, on: eventLoop).flatMapErrorThrowing { error in
        // It may be in the queue already, whatever the spool says.
        if case .unknownOutcome = failure { throw PushFailing.unavailable(.outcomeUnknown) }
        guard let spoolFailure = error as? SpoolFailure else { throw PushFailing.unavailable(.outcomeUnknown) }
        throw switch spoolFailure {
        case .full, .tooOld, .busy, .noRoom: PushFailing.unavailable(.spoolFull)
        case .damaged, .failed: PushFailing.unavailable(.spoolFailed)
        case .late: PushFailing.unavailable(.outcomeUnknown)
        case .closed: PushFailing.unavailable(.shuttingDown)
        }
      }
    }
  }

  /// Takes nothing more, and returns when everything that was taken has been answered, a bounded time.
  func drain() async throws {
    try await producer.drain().get()
  }

  /// What the producer has in hand. The future doesn't fail.
  func producerCounters() -> EventLoopFuture<ProducerCounters> {
    eventLoop.submit { producer.counters }
  }
}
