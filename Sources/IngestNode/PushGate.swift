// The way of one push through the node: key → verdict → queue. One gate per event loop, with its own producer on the same loop, so a push that
// is admitted never changes threads.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
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
  /// Hands over a payload, and tells the sender once what became of it, now or within a bounded time.
  func push(_ request: PushRequest, key: KeyID, account: String, for sender: any PushSender, _ number: RequestNumber)
}

/// Who has handed over payloads. Only on the event loop of the gate.
protocol PushSender: AnyObject {
  /// What became of one.
  func handedOver(_ number: RequestNumber, _ outcome: Result<EnvelopeID, PushFailing>)
}

/// Decides on pushes and hands over what is admitted.
final class PushGate: PushGating {
  private let replica: ReplicaDriver
  private let producer: QueueProducer
  private let spool: Spool?
  private let node: NodeMember
  private let refusals: RefusalLog
  private let rates: AccountRates?
  private let random: NIOLoopBoundBox<RandomPool>
  /// Where lines are written, one after the other.
  private let line: NIOLoopBoundBox<ByteBuffer>

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
    self.node = NodeMember(node)
    self.rates = rates
    random = .makeBoxSendingValue(RandomPool(), eventLoop: producer.eventLoop)
    line = .makeBoxSendingValue(ByteBuffer(), eventLoop: producer.eventLoop)
    refusals = RefusalLog(logger: logger)
  }

  var eventLoop: any EventLoop { producer.eventLoop }

  func admits(_ key: KeyID) -> String? { replica.admits(key) }

  func verdict(of key: KeyID, from sender: IPAddress?) -> EventLoopFuture<Verdict> {
    replica.verdict(of: key).hop(to: eventLoop).map { [refusals] verdict in
      if case .refuse(let reason, let proof) = verdict {
        refusals.note(key, reason, proof, from: sender.map { "\($0)" })
      }
      return verdict
    }
  }

  func push(
    _ request: PushRequest, key: KeyID, account: String, for sender: any PushSender, _ number: RequestNumber
  ) {
    if let rates, let status = rates.excess(of: account, now: .recent) {
      return sender.handedOver(number, .failure(.tooFast(status)))
    }
    let now = Int64(Date().timeIntervalSince1970 * 1000)
    let id =
      if let idempotencyKey = request.idempotencyKey {
        EnvelopeID(keyID: key.bytes, idempotencyKey: idempotencyKey)
      } else {
        EnvelopeID(time: now, using: &random.value)
      }
    let push = PushInHand(
      gate: self, id: id, account: account, key: key, receivedAt: now, request: request, sender: sender, number: number)
    let failure = line.withValue { line in
      line.clear()
      push.writeLine(to: &line)
      return producer.submit(line: line, account: account, payload: request.body, waiter: push)
    }
    if let failure { push.pushed(failure) }
  }

  /// A payload that the producer, or after it the spool, has in hand.
  private final class PushInHand: PushWaiter {
    private let gate: PushGate
    private let id: EnvelopeID
    private let account: String
    private let key: KeyID
    private let receivedAt: Int64
    private let request: PushRequest
    private let sender: any PushSender
    private let number: RequestNumber

    init(
      gate: PushGate, id: EnvelopeID, account: String, key: KeyID, receivedAt: Int64, request: PushRequest,
      sender: any PushSender, number: RequestNumber
    ) {
      self.gate = gate
      self.id = id
      self.account = account
      self.key = key
      self.receivedAt = receivedAt
      self.request = request
      self.sender = sender
      self.number = number
    }

    func writeLine(to buffer: inout ByteBuffer) {
      buffer.writeEnvelopeLine(
        id: id, account: account, key: key.words, receivedAt: receivedAt, request: request.members, node: gate.node)
    }

    func pushed(_ failure: PushFailure?) {
      guard let failure else { return sender.handedOver(number, .success(id)) }
      guard let spool = gate.spool, failure.isForSpool else {
        return sender.handedOver(number, .failure(PushGate.failing(failure)))
      }
      var element = ByteBuffer()
      writeLine(to: &element)
      element.writeImmutableBuffer(request.body)
      spool.append(element, on: gate.eventLoop).assumeIsolated().whenComplete { [sender, number, id] result in
        switch result {
        case .success: sender.handedOver(number, .success(id))
        case .failure(let error):
          sender.handedOver(number, .failure(PushGate.failing(error as? SpoolFailure ?? .late, after: failure)))
        }
      }
    }
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
    eventLoop.submit { [producer] in (producer.counters, producer.obstacle) }
  }
}
