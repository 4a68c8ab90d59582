// The meaning of a store's failure for the client: whether the same request may succeed later, and whether it may have
// been carried out. It determines the exit statuses of key-publisher and the answers of its HTTP API.

import Hiredis
import RedisClient

/// A failure of the key store.
public enum StoreFailure: Sendable, Hashable {
  /// There is no connection to Redis, or it ended before the request was sent. Nothing was changed.
  case unreachable
  /// The connection ended, or the deadline passed, before the answer. Repeating the request is harmless.
  case outcomeUnknown
  /// Redis can't carry out the request now: Redis is full or loading, the store is being rebuilt, or its slot is moving
  /// to another node.
  case notNow
  /// Redis rejects the user or the password, or denies the user a command.
  case notPermitted
  /// The same request would fail again.
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
