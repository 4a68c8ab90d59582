// What a failure of the key store means for whoever asked for a change: whether the same request may succeed later, and
// whether it may have been carried out. The exit statuses of key-publisher and the answers of its HTTP API follow it.

import Hiredis
import RedisClient

/// A failure of the key store.
public enum StoreFailure: Sendable, Hashable {
  /// There is no connection to Redis, or it ended. Nothing was changed.
  case unreachable
  /// The connection ended, or the deadline passed, before the answer. Doing it again is harmless.
  case outcomeUnknown
  /// Redis or the store can't do it now: it is full, loading, being rebuilt, or moving to another node.
  case notNow
  /// Redis doesn't accept the user or its password, or denies it a command.
  case notPermitted
  /// It would fail again.
  case failed

  /// Whether the same request may succeed later.
  public var passes: Bool {
    switch self {
    case .unreachable, .outcomeUnknown, .notNow: true
    case .notPermitted, .failed: false
    }
  }

  public init(of error: any Error) {
    switch error {
    case let error as RedisError:
      switch error.reason {
      case .greetingRefused(let refusal): self.init(of: refusal)
      case .serverTooOld: self = .failed
      default: self = error.outcome == .unknown ? .outcomeUnknown : .unreachable
      }
    case let error as RedisServerError:
      switch (error.storeCode, error.code) {
      case (.rebuilding, _), (.leaseEnded, _): self = .notNow
      case (_, "NOPERM"), (_, "NOAUTH"), (_, "WRONGPASS"): self = .notPermitted
      default: self = error.isPassing ? .notNow : .failed
      }
    default: self = .failed
    }
  }
}
