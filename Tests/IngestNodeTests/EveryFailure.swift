// All reasons for which a payload isn't taken. Made by switches over the case before, so that a new case can't be
// forgotten here.

import HTTPFraming
import KeyReplica

@testable import IngestNode

/// One of each kind, and of each that the kinds are made of.
enum EveryFailure {
  /// Text from a store or a client that could break the message around it.
  static let nasty = "\"quoted\", {\\ \u{1}\u{7f}\r\nx-evil: 1\t\u{fc}\u{2028}"

  static func undecided(after case: Undecided?) -> Undecided? {
    switch `case` {
    case nil: .storeAway(nasty)
    case .storeAway: .noStore
    case .noStore: .unsealed
    case .unsealed: .wrongStore(WrongStore(expected: nasty, met: nasty, command: nasty))
    case .wrongStore: .loading(verified: 1, total: 2)
    case .loading: .diverged(nasty)
    case .diverged: .incompatible(nasty)
    case .incompatible: .barrierTimedOut
    case .barrierTimedOut: .barrierFailed(nasty)
    case .barrierFailed: .unfenced(nasty)
    case .unfenced: .tooManyWaiting(limit: 3)
    case .tooManyWaiting: .vanished
    case .vanished: .refusalStorm(unknown: 12, admitted: 3)
    case .refusalStorm: .expiryUnproven
    case .expiryUnproven: .sourceStale(SourceMark(flaw: nasty))
    case .sourceStale: .stale(.seconds(5))
    case .stale: .shuttingDown
    case .shuttingDown: nil
    }
  }

  static let undecided = Array(
    sequence(state: Undecided?.none) { last in
      last = undecided(after: last)
      return last
    })

  /// All of the kind that comes after this one's.
  private static func failures(after kind: PushRejection?) -> [PushRejection] {
    switch kind {
    case nil:
      RefusalReason.allCases.map { .refused($0, Proof(epoch: nasty, version: .max, asOf: Instant(nanoseconds: 0))) }
    case .refused: undecided.map { .undecided($0) }
    case .undecided: PushRejection.Unavailable.allCases.map { .unavailable($0) }
    case .unavailable: [.overLimit(retryAfter: 17)]
    case .accountOverLimit: [.accountSlowsRedis(retryAfter: 17)]
    case .accountSlowsRedis: [.tooManyRetries(retryAfter: 17)]
    case .tooManyRetries: [.tooManyDeadLetters(retryAfter: 17)]
    case .tooManyDeadLetters: [.outcomeUnknown(isRepeatable: true), .outcomeUnknown(isRepeatable: false)]
    case .overLimit: [.accountOverLimit(retryAfter: 17)]
    case .outcomeUnknown: [.tooFast(nil)] + TooFastStatus.allCases.map { .tooFast($0) }
    case .tooFast: [.missingKey]
    case .missingKey: [.keyTooLong(limit: 512)]
    case .keyTooLong: [.uncountable(nasty), .uncountable("")]
    case .uncountable: [.notFound]
    case .notFound: [.methodNotAllowed(allow: "GET, POST")]
    case .methodNotAllowed: [.tooLarge(limit: 12_345)]
    case .tooLarge: ProtocolError.allCases.map { .unreadable($0) }
    case .unreadable: []
    }
  }

  static let all = Array(sequence(first: failures(after: nil)) { failures(after: $0.last) }.prefix { !$0.isEmpty })
    .flatMap { $0 }
}
