// An outbox in virtual time: a server that is a closure, delayed answers, and a record of all sent requests. Hours pass
// in milliseconds. A seed decides everything random.

import NIOCore
import RedisFixture

@testable import IngestClient

/// An outbox, and everything around it that isn't I/O.
struct OutboxWorld {
  struct Sent: Equatable {
    var at: Duration
    var number: UInt64
  }

  typealias Server = (_ sending: Outbox.Sending, _ now: Duration) -> AttemptResult

  private(set) var outbox: Outbox
  private(set) var now: Duration = .zero
  private(set) var sent: [Sent] = []
  private(set) var states: [(at: Duration, state: IngestClient.State)] = []
  private(set) var delivered: [UInt64: IngestClient.Delivery] = [:]
  private(set) var undelivered: [UInt64: IngestClient.Undelivered] = [:]
  private(set) var mostInFlight = 0
  private(set) var hasEnded = false
  private var answers: [(at: Duration, number: UInt64, result: AttemptResult)] = []
  /// How long an answer takes.
  var latency: () -> Duration = { .milliseconds(10) }

  init(seed: UInt64 = 1, _ change: (inout IngestClient.Configuration) -> Void = { _ in }) throws {
    var configuration = try Self.configuration()
    change(&configuration)
    try configuration.check()
    outbox = Outbox(configuration, random: SeededGenerator(seed: seed))
  }

  static func configuration() throws -> IngestClient.Configuration {
    IngestClient.Configuration(endpoint: "http://127.0.0.1:1/v1/events", key: try PushKey("sk_test"))
  }

  @discardableResult
  mutating func submit(bytes: Int = 2) throws -> UInt64 {
    let payload = IngestClient.Payload(repeatElement(UInt8(ascii: "x"), count: bytes))
    return try outbox.submit(payload, at: now)
  }

  mutating func submit(count: Int) throws { for _ in 0..<count { try submit() } }

  mutating func drain(within limit: Duration) { outbox.drain(until: now + limit) }

  /// Lets so much time pass.
  mutating func run(for limit: Duration, server: Server) throws {
    let end = now + limit
    while !hasEnded {
      let wake = try act(server)
      let first = answers.map(\.at).min()
      let next = [wake, first, end].compactMap { $0 }.min() ?? end
      guard next < end || (first == end && end > now) else { break }
      now = next
      deliverAnswers()
    }
    if !hasEnded { now = max(now, end) }
    note()
  }

  private mutating func act(_ server: Server) throws -> Duration? {
    for _ in 0..<100_000 {
      let step = outbox.next(at: now)
      note()
      switch step {
      case .send(let sending):
        sent.append(Sent(at: now, number: sending.number))
        mostInFlight = max(mostInFlight, outbox.inFlightCount)
        answers.append((now + latency(), sending.number, server(sending, now)))
      case .wait(let moment):
        // An outbox that names a moment that has passed would have its driver spin.
        if let moment, moment <= now {
          throw NeverHappened(description: "expected a moment after \(now), not \(moment)")
        }
        return moment
      case .cancelInFlight:
        for index in answers.indices {
          answers[index] = (now, answers[index].number, .failed(.disconnected("cancelled"), retryAfter: nil))
        }
        deliverAnswers()
      case .ended:
        hasEnded = true
        return nil
      }
    }
    throw NeverHappened(description: "expected the outbox to come to rest at \(now), but it goes on sending")
  }

  private mutating func deliverAnswers() {
    let due = answers.filter { $0.at <= now }.sorted { $0.at < $1.at }
    answers.removeAll { $0.at <= now }
    for answer in due { outbox.answered(answer.number, answer.result, at: now) }
  }

  private mutating func note() {
    for event in outbox.takeEvents() {
      switch event {
      case .delivered(let number, let delivery):
        precondition(delivered[number] == nil && undelivered[number] == nil, "payload \(number) ended twice")
        delivered[number] = delivery
      case .undelivered(let number, let payload):
        precondition(delivered[number] == nil && undelivered[number] == nil, "payload \(number) ended twice")
        undelivered[number] = payload
      case .became(let state): states.append((now, state))
      case .faltered: break
      }
    }
  }
}

extension AttemptResult {
  static func status(_ status: Int, words: String = "", retryAfter: Duration? = nil) -> AttemptResult {
    AttemptResult(IngestClient.Answer(status: status, words: words), retryAfter: retryAfter)
  }
}
