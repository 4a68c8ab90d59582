// The number of answers of each kind. They are counted twice on purpose: in the metrics, for graphs and alerts over
// weeks, and here for the node's own report, which must not depend on a metrics backend.

internal import Metrics
internal import Synchronization

/// The meaning of an answer for the payload.
enum AnswerOutcome: Sendable {
  case taken
  /// The key was proven not to be active.
  case refused
  /// The account has reached one of its own limits.
  case limited
  /// Nothing can be proven about the key.
  case undecided
  /// The node or the queue can't take the payload, whatever its key; or the payload's outcome is unknown.
  case unavailable
  /// The client made a mistake.
  case invalid
  /// The request had no payload.
  case noPayload
}

/// Counts answers by dialect, status and reason, from any thread.
final class AnswerCounters: Sendable {
  private struct Key: Hashable {
    let dialect: String
    let status: Int
    let reason: String
    let outcome: AnswerOutcome
  }

  /// Counts the most frequent answer, without a lock.
  private final class Accepted: Sendable {
    let dialect: Dialect
    let status: Int
    let counter: Counter
    let count = Atomic<UInt64>(0)

    init(_ dialect: Dialect) {
      self.dialect = dialect
      status = dialect.acceptedStatus
      counter = AnswerCounters.counter(Key(dialect: dialect.name, status: status, reason: "accepted", outcome: .taken))
    }
  }

  private struct State {
    var counters: [Key: Counter] = [:]
    var counts: [Key: UInt64] = [:]
  }

  /// In the order of the dialects: for so few, comparing each is quicker than a hash.
  private let accepted: [Accepted]
  private let state = Mutex(State())

  init(_ dialects: [Dialect]) {
    accepted = dialects.map(Accepted.init)
  }

  private static func counter(_ key: Key) -> Counter {
    Counter(
      label: "sluice_push_answers_total",
      dimensions: [("dialect", key.dialect), ("status", "\(key.status)"), ("reason", key.reason)])
  }

  /// Counts an accepted payload.
  func countAccepted(_ dialect: Dialect) {
    guard let accepted = accepted.first(where: { $0.dialect === dialect }) else {
      preconditionFailure("there is no dialect \(dialect.name)")
    }
    accepted.count.add(1, ordering: .relaxed)
    accepted.counter.increment()
  }

  func count(dialect: String, status: Int, reason: String, _ outcome: AnswerOutcome) {
    let counter = state.withLock { state in
      let key = Key(dialect: dialect, status: status, reason: reason, outcome: outcome)
      state.counts[key, default: 0] += 1
      if let known = state.counters[key] { return known }
      let counter = Self.counter(key)
      state.counters[key] = counter
      return counter
    }
    counter.increment()
  }

  private var allAccepted: UInt64 { accepted.reduce(0) { $0 + $1.count.load(ordering: .relaxed) } }

  /// Answers since the start, by status. 401, 403 and 503 are included even with 0.
  var byStatus: [String: UInt64] {
    var counts: [String: UInt64] = ["401": 0, "403": 0, "503": 0]
    for each in accepted { counts["\(each.status)", default: 0] += each.count.load(ordering: .relaxed) }
    for (key, count) in state.withLock(\.counts) { counts["\(key.status)", default: 0] += count }
    return counts
  }

  /// Answers since the start, by outcome.
  var byOutcome: AnswerOutcomes {
    state.withLock(\.counts).reduce(into: AnswerOutcomes(taken: allAccepted)) { outcomes, count in
      switch count.key.outcome {
      case .taken: outcomes.taken += count.value
      case .refused: outcomes.refused += count.value
      case .limited: outcomes.limited += count.value
      case .undecided: outcomes.undecided[count.key.reason, default: 0] += count.value
      case .unavailable: outcomes.unavailable[count.key.reason, default: 0] += count.value
      case .invalid: outcomes.invalid += count.value
      case .noPayload: break
      }
    }
  }

  /// Answers since the start, by reason. Reasons that never occurred are missing.
  var byReason: [String: UInt64] {
    state.withLock(\.counts).reduce(into: ["accepted": allAccepted]) { $0[$1.key.reason, default: 0] += $1.value }
  }
}
