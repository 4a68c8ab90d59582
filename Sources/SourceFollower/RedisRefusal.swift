import Hiredis
import RedisClient

/// What Redis refuses.
enum RedisRefusal {
  /// Whether Redis would refuse it again: a right or a password.
  static func isFinal(_ error: any Error) -> Bool {
    switch error {
    case let error as RedisServerError: ["NOPERM", "NOAUTH", "WRONGPASS"].contains(error.code)
    case let error as RedisError:
      if case .greetingRefused(let refusal) = error.reason { isFinal(refusal) } else { false }
    default: false
    }
  }

  /// Whether Redis is full.
  static func isFull(_ error: any Error) -> Bool { (error as? RedisServerError)?.code == "OOM" }
}
