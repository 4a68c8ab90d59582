public import Hiredis
public import NIOCore

/// How a conversation is held: deadlines and limits. Every wait has an end and every queue a bound.
public struct RedisOptions: Sendable {
  /// For everything until the first command may be sent: name lookup, connect, TLS and greeting together.
  public var connectDeadline: TimeAmount
  /// For a command that names no deadline of its own, from sending to the whole reply.
  public var commandDeadline: TimeAmount
  /// Commands that may wait for their answers on one connection.
  public var waitingLimit: Int
  /// What a reply may be.
  public var replyLimits: ReplyLimits
  /// What `CLIENT LIST` shows for this connection: letters, digits, `-`, `_`, `.` and `:`.
  public var name: String

  public init(
    connectDeadline: TimeAmount = .seconds(2), commandDeadline: TimeAmount = .seconds(5),
    waitingLimit: Int = 10_000, replyLimits: ReplyLimits = ReplyLimits(), name: String = "sluice"
  ) {
    self.connectDeadline = connectDeadline
    self.commandDeadline = commandDeadline
    self.waitingLimit = waitingLimit
    self.replyLimits = replyLimits
    self.name = name
  }
}

/// How long to wait before the next attempt: doubling from `first` to `most`, with jitter so that a fleet that lost its
/// Redis at one moment doesn't come back to it at one moment.
public struct Backoff: Sendable, Equatable {
  public var first: TimeAmount
  public var most: TimeAmount

  public init(first: TimeAmount = .milliseconds(50), most: TimeAmount = .seconds(2)) {
    self.first = first
    self.most = most
  }

  /// The wait after so many failures in a row.
  /// - Parameters:
  ///   - failures: From 1.
  ///   - generator: Where the jitter comes from: the wait lies between half of the step and all of it.
  public func delay(afterFailures failures: Int, using generator: inout some RandomNumberGenerator) -> TimeAmount {
    // Shifted by at most 20: beyond that any sensible `first` is over `most` anyway, and the number mustn't overflow.
    let doubled = first.nanoseconds << Int64(min(max(failures - 1, 0), 20))
    let step = min(doubled, most.nanoseconds)
    return .nanoseconds(Int64.random(in: (step / 2)...step, using: &generator))
  }
}
