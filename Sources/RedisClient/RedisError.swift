public import Hiredis

/// The conversation with Redis is over, or never began. (The other meaning of "error", the server said no, is a reply:
/// ``Hiredis/RedisServerError``.)
public struct RedisError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is known of a command that met this error.
  public enum Outcome: Sendable, Equatable {
    /// It never left this process: the server hasn't seen it.
    case notSent
    /// It may have been carried out or not; nobody here can know.
    case unknown
  }

  public enum Reason: Sendable, Equatable {
    /// No connection could be made, for whatever reason but the next; why, in words.
    case connectFailed(String)
    /// The server refused the greeting: AUTH or SELECT, or CLIENT SETNAME because of who asks.
    case greetingRefused(RedisServerError)
    /// The server is older than Sluice can work with; which it is, in words.
    case serverTooOld(String)
    /// The peer closed the connection, or the network did.
    case closed(String)
    /// No answer within the command's deadline.
    case deadlineExceeded(command: String)
    /// The bytes that came aren't replies, or are over the limits.
    case unreadable(ReplyError)
    /// A reply came that nobody had asked for.
    case unasked
    /// The server said no before it was asked anything.
    case turnedAway(RedisServerError)
    /// This side ended the conversation.
    case shutDown
    /// Too much is waiting for answers already; the limit in words.
    case tooMuchWaiting(limit: String)
    /// Until its deadline no node of the cluster has carried it out: what the last of them said.
    case redirected(String)
    /// There is no connection now; the reason of the last attempt's end, if there was one.
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
      case .greetingRefused(let error): "Redis refused the greeting: \(error.message)"
      case .serverTooOld(let text): text
      case .closed(let text): "the connection to Redis closed: \(text)"
      case .deadlineExceeded(let command): "Redis didn't answer \(command) in time"
      case .unreadable(let error): "Redis sent what can't be read: \(error)"
      case .unasked: "Redis sent a reply that nobody asked for"
      case .turnedAway(let error): "Redis took no further client: \(error.message)"
      case .shutDown: "the connection to Redis was shut down here"
      case .tooMuchWaiting(let limit): "too much is waiting for Redis already: the limit is \(limit)"
      case .redirected(let text): "no node of the cluster has carried it out: \(text)"
      case .notConnected(let last): "not connected to Redis" + (last.map { ": \($0)" } ?? "")
      }
    return outcome == .unknown ? why + " (outcome unknown)" : why
  }

  func with(outcome: Outcome) -> RedisError { RedisError(reason, outcome: outcome) }
}
