// Decides whether a payload or the sink is at fault when a payload wasn't stored. A receiver that answers 403 or 502,
// times out or resets the connection may be down, or may reject this one payload. An outage, however long, must never
// make dead letters. A rejected payload must not delay other payloads, and must become a dead letter.
//
// One failure proves nothing. Two rules decide:
// 1. A failure counts only if the sink has accepted another payload at the same time, or since this payload's last
//    failure.
// 2. A failure doesn't count while the sink is unsteady. A sink that fails at random (an overloaded receiver, a rate
//    limit, one broken server of two) accepts payloads on a later try. A payload that is at fault is never accepted. So
//    payloads that were accepted after a failure are compared with those that were accepted at the first try. A sink
//    with up to a fifth of random failures is steady; then five failures in a row have a probability of 3 in 10,000.
//
// Rejected: deciding by the status (a firewall answers 403, and so does a receiver with another password); deciding by
// the share of failures (an account may send nothing but bad payloads); repeating a failed payload at once between two
// good ones (twice the load on a slow receiver, and the good ones are sent twice).
//
// It reads no clock and does no I/O. Its memory is bounded: beyond the bound it forgets payloads, so a few failures
// aren't counted.

internal import IngestQueue

struct FaultFinding {
  enum Finding: Equatable {
    /// The payload is at fault: the failure counts.
    case payload
    /// The sink accepts other payloads, but fails at random: no failure counts.
    case unsteady(failures: Int)
    /// The sink has accepted nothing since: it is unknown whether the payload or the sink is at fault.
    case unknown(failures: Int)
  }

  private struct Suspect {
    /// How many payloads the sink had accepted at this payload's last failure.
    var accepted: Int
    var failures: Int
  }

  /// How many payloads the sink has accepted.
  private(set) var accepted = 0
  private var suspects: [EnvelopeID: Suspect] = [:]
  /// Payloads that were accepted at the first try, lately.
  private var firsts = 0
  /// Payloads that were accepted after a failure, lately.
  private var recoveries = 0

  private static let maxSuspects = 100_000
  /// Number of accepted payloads to compare.
  private static let window = 400

  /// Whether the payload failed alone before, and hasn't been accepted since then.
  func isSuspect(_ id: EnvelopeID) -> Bool { suspects[id] != nil }

  mutating func noteAccepted(_ id: EnvelopeID) {
    accepted += 1
    if suspects.removeValue(forKey: id) == nil { firsts += 1 } else { recoveries += 1 }
    if firsts + recoveries > Self.window {
      firsts /= 2
      recoveries /= 2
    }
  }

  /// Records a failure that concerns this payload alone.
  /// - Parameter begin: ``accepted`` when the payload was sent.
  /// - Returns: The conclusion, with the number of the payload's failures in this process, including this one.
  mutating func noteFailed(_ id: EnvelopeID, since begin: Int) -> Finding {
    let before = suspects[id]
    if before == nil, suspects.count >= Self.maxSuspects { suspects = [:] }
    let failures = (before?.failures ?? 0) + 1
    suspects[id] = Suspect(accepted: accepted, failures: failures)
    guard accepted > before?.accepted ?? begin else { return .unknown(failures: failures) }
    return isSteady ? .payload : .unsteady(failures: failures)
  }

  /// Removes a payload that won't be delivered again.
  mutating func forget(_ id: EnvelopeID) { suspects[id] = nil }

  /// The first recovery makes the sink unsteady, until it has accepted four payloads at the first try. If the sink
  /// accepts one payload in a hundred, any leniency here would make dead letters.
  private var isSteady: Bool { recoveries * 4 <= firsts }
}
