// The path of one push through the node: key → verdict → queue. One push handler per event loop, with its own producer
// on the same loop, so an admitted push never changes threads.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
internal import Hiredis
internal import IngestQueue
internal import IngestSpool
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import Logging
internal import NIOCore

/// The operations of a push handler for a connection's requests. Used only on the connection's event loop.
protocol PushHandling: Sendable {
  /// The account of a key that can be admitted at once; nil if the replica must decide.
  func admits(_ key: KeyID) -> String?
  /// The verdict for a key, within a bounded time. The future doesn't fail.
  /// - Parameter sender: For the log; nil if it isn't known.
  func verdict(of key: KeyID, from sender: IPAddress?) -> EventLoopFuture<Verdict>
  /// Enqueues the payload of an exchange whose key is admitted, and calls the sender once with the outcome, now or
  /// within a bounded time.
  func push(_ exchange: Exchange, for sender: any PushResponder)
}

/// The outcome of a payload. Rejected: a `Result`. The layout of a generic value of such a size is looked up each time
/// that one is released.
enum PushOutcome: Sendable {
  case success(EnvelopeID)
  case failure(PushRejection)
}

/// The sender of payloads, which gets their outcomes. Used only on the push handler's event loop.
protocol PushResponder: AnyObject {
  /// The outcome of one payload.
  func handedOver(_ number: RequestNumber, _ outcome: PushOutcome)
}

/// Decides on pushes and enqueues the admitted payloads.
final class PushHandler: PushHandling {
  private let replica: ReplicaDriver
  private let desk: VerdictBatcher
  private let producer: QueueProducer
  private let spool: Spool?
  private let node: NodeMember
  private let refusals: RefusalLog
  private let logger: Logger
  /// Limits log lines about pushes that Redis rejects: otherwise each push would write one.
  private let lines = LineLimiter(lines: 1, perSeconds: 10)
  private let rates: AccountRates?
  private let random: NIOLoopBoundBox<RandomPool>
  /// The buffer for envelope lines, reused for each.
  private let line: NIOLoopBoundBox<ByteBuffer>

  /// - Parameters:
  ///   - producer: On the push handler's event loop.
  ///   - spool: Accepts payloads while the queue is unreachable; nil for none.
  ///   - rates: Rate limits of accounts; nil for none.
  init(
    replica: ReplicaDriver, producer: QueueProducer, spool: Spool?, node: String, rates: AccountRates?, logger: Logger
  ) {
    self.replica = replica
    desk = replica.desk(for: producer.eventLoop)
    self.producer = producer
    self.spool = spool
    self.node = NodeMember(node)
    self.rates = rates
    random = .makeBoxSendingValue(RandomPool(), eventLoop: producer.eventLoop)
    line = .makeBoxSendingValue(ByteBuffer(), eventLoop: producer.eventLoop)
    refusals = RefusalLog(logger: logger)
    self.logger = logger
  }

  var eventLoop: any EventLoop { producer.eventLoop }

  func admits(_ key: KeyID) -> String? { replica.admits(key) }

  func verdict(of key: KeyID, from sender: IPAddress?) -> EventLoopFuture<Verdict> {
    desk.verdict(of: key).map { [refusals] verdict in
      if case .refuse(let reason, let proof) = verdict {
        refusals.note(key, reason, proof, from: sender.map { "\($0)" })
      }
      return verdict
    }
  }

  func push(_ exchange: Exchange, for sender: any PushResponder) {
    guard let key = exchange.key, let account = exchange.account else {
      preconditionFailure("a payload whose key isn't admitted")  // Callers check this.
    }
    if let rates, rates.isExceeded(by: account, now: .recent) {
      return sender.handedOver(exchange.number, .failure(.tooFast(rates.status)))
    }
    let now = Int64(Date().timeIntervalSince1970 * 1000)
    let id =
      if let idempotencyKey = exchange.request.idempotencyKey {
        EnvelopeID(keyID: key.bytes, idempotencyKey: idempotencyKey)
      } else {
        EnvelopeID(time: now, using: &random.value)
      }
    exchange.handover = PendingEnqueue(id: id, account: account, key: key, receivedAt: now, gate: self, sender: sender)
    let failure = line.withValue { line in
      line.clear()
      write(exchange.request, id, account, key, at: now, to: &line)
      return producer.submit(line: line, account: account, payload: exchange.request.body, waiter: exchange)
    }
    if let failure { exchange.pushed(failure) }
  }

  private func write(
    _ request: PushRequest, _ id: EnvelopeID, _ account: String, _ key: KeyID, at time: Int64,
    to buffer: inout ByteBuffer
  ) {
    buffer.writeEnvelopeLine(
      id: id, account: account, key: key.words, receivedAt: time, request: request.members, node: node)
  }

  /// Handles a payload that the producer hasn't pushed.
  fileprivate func notPushed(
    _ failure: EnqueueError, _ request: PushRequest, _ handover: PendingEnqueue, _ number: RequestNumber
  ) {
    if case .refused(let error) = failure {
      lines.write(.warning, "Redis rejected a push", ["reason": "\(error.message)"], to: logger)
    }
    guard let spool, failure.isForSpool else {
      rates?.giveBack(to: handover.account)
      return handover.sender.handedOver(number, .failure(Self.failing(failure, of: request)))
    }
    var element = ByteBuffer()
    write(request, handover.id, handover.account, handover.key, at: handover.receivedAt, to: &element)
    element.writeImmutableBuffer(request.body)
    spool.append(element, of: handover.account, on: eventLoop).assumeIsolated().whenComplete { result in
      switch result {
      case .success: handover.sender.handedOver(number, .success(handover.id))
      case .failure(let error):
        self.rates?.giveBack(to: handover.account)
        handover.sender.handedOver(
          number, .failure(Self.failing(error as? SpoolFailure ?? .late, after: failure, of: request)))
      }
    }
  }

  private static func failing(_ failure: EnqueueError, of request: PushRequest) -> PushRejection {
    switch failure {
    case .full: .unavailable(.queueFull)
    case .overLimit(let seconds): .overLimit(retryAfter: seconds)
    case .accountOverLimit(let seconds): .accountOverLimit(retryAfter: seconds)
    case .accountSlowsRedis(let seconds): .accountSlowsRedis(retryAfter: seconds)
    case .tooManyRetries(let seconds): .tooManyRetries(retryAfter: seconds)
    case .tooManyDeadLetters(let seconds): .tooManyDeadLetters(retryAfter: seconds)
    case .durabilityLost: .unavailable(.durabilityLost)
    case .away: .unavailable(.queueAway)
    case .unknownOutcome, .unconfirmed: .outcomeUnknown(isRepeatable: request.idempotencyKey != nil)
    case .refused: .unavailable(.queueRefused)
    case .tooLarge(_, let limit): .tooLarge(limit: limit)
    case .shuttingDown: .unavailable(.shuttingDown)
    }
  }

  /// The rejection if Redis is unreachable and the spool hasn't accepted the payload either.
  private static func failing(
    _ spoolFailure: SpoolFailure, after failure: EnqueueError, of request: PushRequest
  ) -> PushRejection {
    let unknown = PushRejection.outcomeUnknown(isRepeatable: request.idempotencyKey != nil)
    // The payload may be in the queue already, even if the spool fails.
    if case .unknownOutcome = failure { return unknown }
    return switch spoolFailure {
    case .full, .tooOld, .busy, .noRoom: .unavailable(.spoolFull)
    case .accountFull: .unavailable(.accountFull)
    case .damaged, .failed: .unavailable(.spoolFailed)
    case .late: unknown
    case .closed: .unavailable(.shuttingDown)
    }
  }

  /// Accepts no more payloads, and returns when all accepted ones have been answered, within a bounded time.
  func drain() async throws {
    try await producer.drain().get()
  }

  /// The producer's counters, and the reason if it accepts nothing. Fails only if the event loop has ended.
  func producerState() -> EventLoopFuture<(counters: ProducerCounters, obstacle: EnqueueError?)> {
    eventLoop.submit { [producer] in (producer.counters, producer.obstacle) }
  }
}

/// The state of an exchange's payload while the producer, or later the spool, has it.
struct PendingEnqueue {
  let id: EnvelopeID
  let account: String
  let key: KeyID
  /// Milliseconds since 1970.
  let receivedAt: Int64
  let gate: PushHandler
  let sender: any PushResponder
}

extension Exchange: EnqueueCompletion {
  func pushed(_ failure: EnqueueError?) {
    // Removed from the exchange: otherwise the exchange and the sender, which retains it, would keep each other alive.
    guard let handover = handover.take() else { preconditionFailure("a payload's outcome is reported once") }
    if let failure {
      handover.gate.notPushed(failure, request, handover, number)
    } else {
      handover.sender.handedOver(number, .success(handover.id))
    }
  }
}
