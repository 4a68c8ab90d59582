// What all connections of the push listener share: the bounds, the dialects, the counters.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
internal import KeyReplica
internal import KeyStore
internal import NIOCore

/// How long a connection may be in each phase.
struct PhaseDeadlines: Sendable {
  /// Between requests.
  var idle = TimeAmount.seconds(75)
  /// From a head's first byte to its last. And from there to a key in the body.
  var head = TimeAmount.seconds(10)
  /// From the head's last byte, or a key in the body, to the body's last.
  var body = TimeAmount.seconds(60)
  /// For throwing away what is left of a request that is answered or will be refused, and what still comes while the connection closes.
  var discard = TimeAmount.seconds(5)

  /// nil where the delay is our own, which has bounds of its own.
  subscript(phase: ConnectionPhase) -> TimeAmount? {
    switch phase {
    case .idle: idle
    case .head: head
    case .body: body
    case .draining, .closing, .closed: discard
    case .answering: nil
    }
  }
}

/// What connections share, and never change.
struct ListenerContext: Sendable {
  let limits: RequestLimits
  let deadlines: PhaseDeadlines
  let routes: RouteTable
  /// In whose words requests are answered that are in no dialect.
  let fallback: Dialect
  let counters: AnswerCounters
  let stopping: StopFlag
  /// Proxies whose word on whom a request comes from is believed.
  let trusted: TrustedProxies
  /// Where batches are counted that take long.
  let batches: BatchCounter
  /// How many unread bytes a connection may have before it stops reading: the longest head must find room, and more is of no use.
  let sentAhead: Int
  /// How many it may have when its client has ended and NIO reads the rest: a read that was under way has room.
  let unreadAtEnd = 96 << 10
  private let refusals = LastRefusalCache()

  init(
    limits: RequestLimits, deadlines: PhaseDeadlines, dialects: [Dialect], counters: AnswerCounters, stopping: StopFlag,
    trusted: TrustedProxies, batches: BatchCounter
  ) {
    self.limits = limits
    self.batches = batches
    sentAhead = limits.requestLineBytes + limits.headerBytes
    self.deadlines = deadlines
    routes = RouteTable(dialects)
    fallback = Dialects.generic
    self.counters = counters
    self.stopping = stopping
    self.trusted = trusted
  }

  func facts(_ failure: PushRejection, in dialect: Dialect) -> AnswerFacts {
    AnswerTable.facts(
      failure, unrepeated: dialect.unrepeated,
      wallTime: { Date(timeIntervalSinceNow: -(Instant.now - $0).fractionalSeconds) },
      retryAfter: { Int.random(in: 1...5) })
  }

  /// Counts an answer that isn't "taken", and lays it out.
  func refusal(_ why: PushRejection, in dialect: Dialect, _ media: MediaType) -> Response {
    let refusal = refusals.refusal(why, in: dialect, media) {
      let facts = facts(why, in: dialect)
      return LaidOutRefusal(label: facts.label, response: response(facts, in: dialect, media))
    }
    counters.count(
      dialect: dialect.name, status: refusal.response.status, reason: refusal.label, AnswerTable.outcome(why))
    return refusal.response
  }

  func response(_ facts: AnswerFacts, in dialect: Dialect, _ media: MediaType) -> Response {
    dialect.failed(facts, media).response(status: facts.status, adding: AnswerTable.fields(facts))
  }
}
