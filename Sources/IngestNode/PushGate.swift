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
  private let random: NIOLoopBoundBox<RandomPool>

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
    random = .makeBoxSendingValue(RandomPool(), eventLoop: producer.eventLoop)
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
      id = EnvelopeID(time: now, using: &random.value)
    }
    let header = EnvelopeHeader(
      id: id, account: account, key: key.hex, receivedAt: now, contentType: request.contentType,
      contentEncoding: request.contentEncoding, path: request.path, node: node, traceparent: request.traceparent)
    let answer = eventLoop.makePromise(of: EnvelopeID.self)
    producer.submit(header, payload: request.body).whenComplete { result in
      switch result {
      case .success: answer.succeed(id)
      case .failure(let error):
        // The producer fails with nothing else; should that change, nobody may take it for an acknowledgement.
        guard let failure = error as? PushFailure else { return answer.fail(PushFailing.unavailable(.outcomeUnknown)) }
        guard let spool, failure.isForSpool else { return answer.fail(Self.failing(failure)) }
        spool.append(header, payload: request.body, on: eventLoop).whenComplete { result in
          switch result {
          case .success: answer.succeed(id)
          case .failure(let error): answer.fail(Self.failing(error as? SpoolFailure ?? .late, after: failure))
          }
        }
      }
    }
    return answer.futureResult
  }

  private static func failing(_ failure: PushFailure) -> PushFailing {
    switch failure {
    case .full: .unavailable(.queueFull)
    case .overLimit(let seconds): .overLimit(retryAfter: seconds)
    case .durabilityLost: .unavailable(.durabilityLost)
    case .away: .unavailable(.queueAway)
    case .unknownOutcome, .unconfirmed: .unavailable(.outcomeUnknown)
    case .refused: .unavailable(.queueRefused)
    case .tooLarge(_, let limit): .tooLarge(limit: limit)
    case .shuttingDown: .unavailable(.shuttingDown)
    }
  }

  /// Redis is away, and the spool hasn't taken it either.
  private static func failing(_ spoolFailure: SpoolFailure, after failure: PushFailure) -> PushFailing {
    // It may be in the queue already, whatever the spool says.
    if case .unknownOutcome = failure { return .unavailable(.outcomeUnknown) }
    return switch spoolFailure {
    case .full, .tooOld, .busy, .noRoom: .unavailable(.spoolFull)
    case .damaged, .failed: .unavailable(.spoolFailed)
    case .late: .unavailable(.outcomeUnknown)
    case .closed: .unavailable(.shuttingDown)
    }
  }

  /// Takes nothing more, and returns when everything that was taken has been answered, a bounded time.
  func drain() async throws {
    try await producer.drain().get()
  }

  /// What the producer has in hand and has done, and why it takes nothing, if it doesn't. Fails only when the event loop has ended.
  func producerState() -> EventLoopFuture<(counters: ProducerCounters, obstacle: PushFailure?)> {
    eventLoop.submit { (producer.counters, producer.obstacle) }
  }
}
