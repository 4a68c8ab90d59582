// The state that all connections of the push listener share: limits, dialects, counters.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import NIOCore

/// Maximum time of a connection in each phase.
struct PhaseDeadlines: Sendable {
  /// Between requests.
  var idle = TimeAmount.seconds(75)
  /// From a head's first byte to its last, and then to a key in the body.
  var head = TimeAmount.seconds(10)
  /// From the last byte of the head, or from a key in the body, to the last byte of the body.
  var body = TimeAmount.seconds(60)
  /// For discarding the rest of a request that is answered or will be refused, and bytes that arrive while the
  /// connection closes.
  var discard = TimeAmount.seconds(5)

  /// nil if the node itself causes the delay, which has other limits.
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

/// The state that all connections share and that never changes.
struct ListenerContext: Sendable {
  let limits: RequestLimits
  let deadlines: PhaseDeadlines
  let routes: RouteTable
  /// The dialect whose wording is used for requests that belong to no dialect.
  let fallback: Dialect
  let counters: AnswerCounters
  let stopping: StopFlag
  /// Proxies trusted to set the client address.
  let trusted: TrustedProxies
  /// Counts batches that take long.
  let batches: BatchCounter
  /// Maximum unread bytes of a connection before it stops reading: the longest head must fit, and more is useless.
  let sentAhead: Int
  /// Maximum unread bytes when the client has closed its side and NIO reads the rest. A read in progress must fit.
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

  /// Counts an answer other than "accepted", and formats it.
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
