import Hiredis
import RedisClient

/// Classifies the errors of Redis.
enum RedisRefusal {
  /// Whether a repetition would fail as well: a right is missing, or the password is wrong.
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
