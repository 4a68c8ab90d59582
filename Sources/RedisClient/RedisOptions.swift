public import Hiredis
public import NIOCore

/// The deadlines and limits of a connection. Every wait has an end and every queue a limit.
public struct RedisOptions: Sendable {
  /// For everything before the first command: DNS lookup, connect, TLS and greeting together.
  public var connectDeadline: TimeAmount
  /// For a command without a deadline of its own: from sending it to its whole reply.
  public var commandDeadline: TimeAmount
  /// Maximum unanswered commands on one connection: single commands, or groups that were sent together.
  public var waitingLimit: Int
  /// Maximum bytes of unanswered commands on one connection, as sent. A single command or group may be larger.
  public var waitingBytesLimit: Int
  /// Limits of a reply.
  public var replyLimits: ReplyLimits
  /// Whether the server of a single-server address must report that it is a primary. After a failover such an address
  /// may lead to another server.
  public var needsPrimary: Bool
  /// The connection's name in `CLIENT LIST`: letters, digits, `-`, `_`, `.` and `:`.
  public var name: String
  /// Whether a client logs the commands that Redis denies. If a process has several clients of one server, one of them
  /// is enough.
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

/// The wait before the next attempt: doubles from `first` to `most`. Jitter prevents a whole fleet that lost its Redis
/// at one moment from reconnecting at once.
public struct Backoff: Sendable, Equatable {
  public var first: TimeAmount
  public var most: TimeAmount

  public init(first: TimeAmount = .milliseconds(50), most: TimeAmount = .seconds(2)) {
    self.first = first
    self.most = most
  }

  /// The wait after this number of failures in a row.
  /// - Parameters:
  ///   - failures: From 1.
  ///   - generator: The source of the jitter: the wait is between half of the step and all of it.
  public func delay(afterFailures failures: Int, using generator: inout some RandomNumberGenerator) -> TimeAmount {
    let most = max(0, most.nanoseconds)
    // 62 doublings of any value but 0 exceed an Int64.
    let doublings = min(max(failures - 1, 0), 62)
    let (doubled, overflow) = max(0, first.nanoseconds).multipliedReportingOverflow(by: 1 << doublings)
    let step = overflow ? most : min(doubled, most)
    return .nanoseconds(Int64.random(in: (step / 2)...step, using: &generator))
  }
}
