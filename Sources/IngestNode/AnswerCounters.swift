// How often each answer was given. Kept twice, on purpose: in the metrics, for graphs and alerts over weeks, and here for
// the node's own report, which must not depend on what the metrics are exported to.

internal import Metrics
internal import Synchronization

/// Counts answers by status, from any thread.
final class AnswerCounters: Sendable {
  private struct Key: Hashable {
    let status: Int
    let reason: String
  }

  private struct State {
    var counters: [Key: Counter] = [:]
    var counts: [Key: UInt64] = [:]
  }

  private let state = Mutex(State())

  func count(status: Int, reason: String) {
    let counter = state.withLock { state in
      let key = Key(status: status, reason: reason)
      state.counts[key, default: 0] += 1
      if let known = state.counters[key] { return known }
      let counter = Counter(
        label: "sluice_push_answers_total", dimensions: [("status", "\(status)"), ("reason", reason)])
      state.counters[key] = counter
      return counter
    }
    counter.increment()
  }

  /// Answers since the start, by status; statuses that were never given are there with 0.
  var byStatus: [String: UInt64] {
    let none = Dictionary(uniqueKeysWithValues: AnswerTable.statuses.map { ("\($0)", UInt64(0)) })
    return state.withLock(\.counts).reduce(into: none) { $0["\($1.key.status)", default: 0] += $1.value }
  }

  /// Answers since the start, by reason; reasons that never came aren't there.
  var byReason: [String: UInt64] {
    state.withLock(\.counts).reduce(into: [:]) { $0[$1.key.reason, default: 0] += $1.value }
  }
}
