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
    var byStatus: [Int: UInt64] = [:]
  }

  private let state = Mutex(State())

  func count(status: Int, reason: String) {
    let counter = state.withLock { state in
      state.byStatus[status, default: 0] += 1
      let key = Key(status: status, reason: reason)
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
    let counts = state.withLock { $0.byStatus }
    return Dictionary(uniqueKeysWithValues: AnswerTable.statuses.map { ("\($0)", counts[$0] ?? 0) })
  }
}
