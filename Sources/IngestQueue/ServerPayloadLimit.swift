// Whether a payload is too large for the Redis that it was pushed to. Redis has two limits, and neither is known before
// it is met:
//
// - `proto-max-bulk-len`, 512 MiB by default: Redis answers "ERR Protocol error: invalid bulk length" and closes the
//   connection. Since it does so before it has read the payload, the answer is often lost with the connection.
// - `client-query-buffer-limit`, 1 GiB by default: Redis closes the connection without an answer.
//
// So a failure is certain where the answer came; a connection that closed may as well mean that Redis ended, and only
// trying again tells. Neither limit can be set to less than 1 MiB. Thus no smaller payload is ever suspected, and a
// batch of them always fits.

internal import Hiredis
internal import RedisClient

extension PushFailure {
  /// A payload of so many bytes, with the line before it, is within the limits of any Redis: half of the least that
  /// they can be set to, because a part of the command counts as well.
  public static let alwaysTakenBytes = 512 << 10

  /// Redis said that the payload is too large for it. It was alone in its command, or is smaller than what is in
  /// question.
  /// - Parameter bytes: The payload's, with the line before it.
  public func isTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .refused(let error) = self else { return false }
    return error.message.contains("invalid bulk length") || error.message.contains("exceeds maximum allowed size")
  }

  /// Redis closed the connection on which the payload was sent, as it does where the payload is too large for it, and
  /// when it ends.
  /// - Parameter bytes: The payload's, with the line before it.
  public func mayBeTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .unknownOutcome(let error) = self, case .closed = error.reason else {
      return false
    }
    return true
  }
}
