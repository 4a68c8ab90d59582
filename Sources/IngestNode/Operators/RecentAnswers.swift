// How pushes fared in the last minute, from counters that only grow: no I/O and no clock. Whoever asks brings the
// counts of now, which are kept about once a second for a minute; the difference to the oldest of them is the answer.
// The heartbeat asks each second, so the minute is one also where nobody else does.

internal import NIOCore

/// Answers by what they mean for the payload.
struct AnswerOutcomes: Sendable, Equatable {
  var taken: UInt64 = 0
  var refused: UInt64 = 0
  var limited: UInt64 = 0
  /// By reason, both.
  var undecided: [String: UInt64] = [:]
  var unavailable: [String: UInt64] = [:]
  var invalid: UInt64 = 0

  /// What came after `earlier`.
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

/// Tells the last minute's answers.
struct RecentAnswers: Sendable {
  /// The oldest first; never empty.
  private var past: [(at: NIODeadline, counts: AnswerOutcomes)]

  static let span = TimeAmount.seconds(60)
  private static let step = TimeAmount.seconds(1)

  init(since start: NIODeadline) { past = [(start, AnswerOutcomes())] }

  /// - Parameter counts: Since the start; none of them is ever less than before.
  /// - Returns: Those of the last minute.
  mutating func note(_ counts: AnswerOutcomes, at now: NIODeadline) -> AnswerOutcomes {
    // The one that stays is the last that is a minute old.
    while past.count > 1, now - past[1].at >= Self.span { past.removeFirst() }
    defer { if now - past[past.count - 1].at >= Self.step { past.append((now, counts)) } }
    return counts - past[0].counts
  }
}
