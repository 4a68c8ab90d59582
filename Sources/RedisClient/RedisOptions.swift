public import Hiredis
public import NIOCore

/// How a conversation is held: deadlines and limits. Every wait has an end and every queue a bound.
public struct RedisOptions: Sendable {
  /// For everything until the first command may be sent: name lookup, connect, TLS and greeting together.
  public var connectDeadline: TimeAmount
  /// For a command that names no deadline of its own, from sending to the whole reply.
  public var commandDeadline: TimeAmount
  /// What may wait for answers on one connection: single commands, or groups that were sent together.
  public var waitingLimit: Int
  /// Bytes of what may wait for answers on one connection, as sent. One command or group by itself may be larger.
  public var waitingBytesLimit: Int
  /// What a reply may be.
  public var replyLimits: ReplyLimits
  /// Whether the server that an address of one server leads to must call itself a primary. Behind such an address a failover may have put another one.
  public var needsPrimary: Bool
  /// What `CLIENT LIST` shows for this connection: letters, digits, `-`, `_`, `.` and `:`.
  public var name: String
  /// Whether a client's log says what Redis denies it. One of a process's clients of the same server is enough.
  public var saysDenied = false

  public init(
    connectDeadline: TimeAmount = .seconds(2), commandDeadline: TimeAmount = .seconds(5),
    waitingLimit: Int = 10_000, waitingBytesLimit: Int = 256 << 20, replyLimits: ReplyLimits = ReplyLimits(),
    needsPrimary: Bool = false, name: String = "sluice"
  ) {
    self.connectDeadline = connectDeadline
    self.commandDeadline = commandDeadline
    self.waitingLimit = waitingLimit
    self.waitingBytesLimit = waitingBytesLimit
    self.replyLimits = replyLimits
    self.needsPrimary = needsPrimary
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
    let most = max(0, most.nanoseconds)
    // 62 doublings of anything but 0 are beyond every Int64.
    let doublings = min(max(failures - 1, 0), 62)
    let (doubled, overflow) = max(0, first.nanoseconds).multipliedReportingOverflow(by: 1 << doublings)
    let step = overflow ? most : min(doubled, most)
    return .nanoseconds(Int64.random(in: (step / 2)...step, using: &generator))
  }
}
