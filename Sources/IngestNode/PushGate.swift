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
  /// Hands over the payload of an exchange whose key is admitted, and tells the sender once what became of it, now or within a bounded
  /// time.
  func push(_ exchange: Exchange, for sender: any PushSender)
}

/// Who has handed over payloads. Only on the event loop of the gate.
protocol PushSender: AnyObject {
  /// What became of one.
  func handedOver(_ number: RequestNumber, _ outcome: Result<EnvelopeID, PushFailing>)
}

/// Decides on pushes and hands over what is admitted.
final class PushGate: PushGating {
  private let replica: ReplicaDriver
  private let desk: VerdictDesk
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
    desk = replica.desk(for: producer.eventLoop)
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
    desk.verdict(of: key).map { [refusals] verdict in
      if case .refuse(let reason, let proof) = verdict {
        refusals.note(key, reason, proof, from: sender.map { "\($0)" })
      }
      return verdict
    }
  }

  func push(_ exchange: Exchange, for sender: any PushSender) {
    guard let key = exchange.key, let account = exchange.account else {
      preconditionFailure("a payload whose key isn't admitted")  // Nobody hands one over.
    }
    if let rates, let status = rates.excess(of: account, now: .recent) {
      return sender.handedOver(exchange.number, .failure(.tooFast(status)))
    }
    let now = Int64(Date().timeIntervalSince1970 * 1000)
    let id =
      if let idempotencyKey = exchange.request.idempotencyKey {
        EnvelopeID(keyID: key.bytes, idempotencyKey: idempotencyKey)
      } else {
        EnvelopeID(time: now, using: &random.value)
      }
    let push = PushInHand(exchange, id: id, account: account, key: key, receivedAt: now, gate: self, sender: sender)
    let failure = line.withValue { line in
      line.clear()
      push.writeLine(to: &line)
      return producer.submit(line: line, account: account, payload: exchange.request.body, waiter: push)
    }
    if let failure { push.pushed(failure) }
  }

  /// A payload that the producer, or after it the spool, has in hand.
  private final class PushInHand: PushWaiter {
    private let exchange: Exchange
    private let id: EnvelopeID
    private let account: String
    private let key: KeyID
    private let receivedAt: Int64
    private let gate: PushGate
    private let sender: any PushSender

    init(
      _ exchange: Exchange, id: EnvelopeID, account: String, key: KeyID, receivedAt: Int64, gate: PushGate,
      sender: any PushSender
    ) {
      self.exchange = exchange
      self.id = id
      self.account = account
      self.key = key
      self.receivedAt = receivedAt
      self.gate = gate
      self.sender = sender
    }

    func writeLine(to buffer: inout ByteBuffer) {
      buffer.writeEnvelopeLine(
        id: id, account: account, key: key.words, receivedAt: receivedAt, request: exchange.request.members,
        node: gate.node)
    }

    func pushed(_ failure: PushFailure?) {
      guard let failure else { return tell(.success(id)) }
      guard let spool = gate.spool, failure.isForSpool else { return tell(.failure(PushGate.failing(failure))) }
      var element = ByteBuffer()
      writeLine(to: &element)
      element.writeImmutableBuffer(exchange.request.body)
      spool.append(element, on: gate.eventLoop).assumeIsolated().whenComplete { result in
        switch result {
        case .success: self.tell(.success(self.id))
        case .failure(let error):
          self.tell(.failure(PushGate.failing(error as? SpoolFailure ?? .late, after: failure)))
        }
      }
    }

    private func tell(_ outcome: Result<EnvelopeID, PushFailing>) { sender.handedOver(exchange.number, outcome) }
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
