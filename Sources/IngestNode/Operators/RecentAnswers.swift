// The outcomes of pushes in the last minute, from counters that only grow: no I/O and no clock. The caller passes the
// current counts, which are kept about once a second for a minute. The result is the difference from the oldest kept
// counts. The heartbeat calls this each second, so there are counts for the whole minute even without other callers.

internal import NIOCore

/// Counts of answers by their outcome for the payload.
struct AnswerOutcomes: Sendable, Equatable {
  var taken: UInt64 = 0
  var refused: UInt64 = 0
  var limited: UInt64 = 0
  /// By reason, as in the next one.
  var undecided: [String: UInt64] = [:]
  var unavailable: [String: UInt64] = [:]
  var invalid: UInt64 = 0

  /// The counts of answers after `earlier`.
  static func - (now: AnswerOutcomes, earlier: AnswerOutcomes) -> AnswerOutcomes {
    AnswerOutcomes(
      taken: now.taken - earlier.taken, refused: now.refused - earlier.refused, limited: now.limited - earlier.limited,
      undecided: difference(now.undecided, earlier.undecided),
      unavailable: difference(now.unavailable, earlier.unavailable), invalid: now.invalid - earlier.invalid)
  }

  private static func difference(_ now: [String: UInt64], _ earlier: [String: UInt64]) -> [String: UInt64] {
    now.reduce(into: [:]) { difference, count in
      let more = count.value - earlier[count.key, default: 0]
      if more > 0 { difference[count.key] = more }
    }
  }
}

/// Calculates the last minute's answers.
struct RecentAnswers: Sendable {
  /// The kept counts, the oldest first; never empty.
  private var past: [(at: NIODeadline, counts: AnswerOutcomes)]

  static let span = TimeAmount.seconds(60)
  private static let step = TimeAmount.seconds(1)

  init(since start: NIODeadline) { past = [(start, AnswerOutcomes())] }

  /// - Parameter counts: Counts since the start, which never decrease.
  /// - Returns: The counts of the last minute.
  mutating func note(_ counts: AnswerOutcomes, at now: NIODeadline) -> AnswerOutcomes {
    // The last entry that is at least a minute old is kept.
    while past.count > 1, now - past[1].at >= Self.span { past.removeFirst() }
    defer { if now - past[past.count - 1].at >= Self.step { past.append((now, counts)) } }
    return counts - past[0].counts
  }
}
