public import Hiredis

/// The connection to Redis has ended, or was never open. (The other kind of error, a refusal by the server, is a reply:
/// ``Hiredis/RedisServerError``.)
public struct RedisError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The outcome of a command that failed with this error.
  public enum Outcome: Sendable, Equatable {
    /// The command wasn't sent: the server hasn't received it.
    case notSent
    /// The command may have been carried out or not: this side can't know.
    case unknown
  }

  public enum Reason: Sendable, Equatable {
    /// No connection could be opened, except for the reasons below; the reason as text.
    case connectFailed(String)
    /// The server refused the greeting: AUTH or SELECT, or CLIENT SETNAME because of the user.
    case greetingRefused(RedisServerError)
    /// The server's version is too old for Sluice; the version as text.
    case serverTooOld(String)
    /// The peer closed the connection, or the network failed.
    case closed(String)
    /// No reply within the command's deadline.
    case deadlineExceeded(command: String)
    /// The received bytes aren't valid replies, or exceed the limits.
    case unreadable(ReplyError)
    /// A reply arrived that belongs to no command.
    case unasked
    /// The server sent an error before it received a command.
    case turnedAway(RedisServerError)
    /// This side closed the connection.
    case shutDown
    /// Too many commands or bytes are already waiting for replies; the limit as text.
    case tooMuchWaiting(limit: String)
    /// No node of the cluster carried out the command before its deadline; the last node's error.
    case redirected(String)
    /// There is no connection now; with the reason of the last failed attempt, if there was one.
    case notConnected(last: String?)
  }

  public let reason: Reason
  public let outcome: Outcome

  public init(_ reason: Reason, outcome: Outcome) {
    self.reason = reason
    self.outcome = outcome
  }

  public var description: String {
    let why =
      switch reason {
      case .connectFailed(let text): "could not connect to Redis: \(text)"
      case .greetingRefused(let error): "Redis rejected HELLO, AUTH or SELECT: \(error.message)"
      case .serverTooOld(let text): text
      case .closed(let text): "the connection to Redis closed: \(text)"
      case .deadlineExceeded(let command): "Redis didn't answer \(command) in time"
      case .unreadable(let error): "Redis sent an unreadable reply: \(error)"
      case .unasked: "Redis sent an unexpected reply"
      case .turnedAway(let error): "Redis rejected the connection: \(error.message)"
      case .shutDown: "this process closed the connection to Redis"
      case .tooMuchWaiting(let limit): "too much already waits to be sent to Redis: the limit is \(limit)"
      case .redirected(let text): "no cluster node executed the command: \(text)"
      case .notConnected(let last): "not connected to Redis" + (last.map { ": \($0)" } ?? "")
      }
    return outcome == .unknown ? why + " (outcome unknown)" : why
  }

  func with(outcome: Outcome) -> RedisError { RedisError(reason, outcome: outcome) }
}
