import ArgumentParser
public import IngestNode
public import CommandSupport

/// The limits for clients in size, number and time.
struct LimitArguments: ParsableArguments {
  private static let standard = ListenerLimits()

  private static let maxBody = Setting<Int>(
    "max-body", "Maximum request body, before decompression. A larger one is answered 413.", shown: "bytes",
    default: "\(standard.bodyBytes)", in: 1...(1 << 30))
  @Option(help: Self.maxBody.help) var maxBody: String?

  private static let maxHeader = Setting<Int>(
    "max-header", "Maximum size of all header lines of a request together. More is answered 431.", shown: "bytes",
    default: "\(standard.headerBytes)", in: 1_024...49_152)
  @Option(help: Self.maxHeader.help) var maxHeader: String?

  private static let maxInHand = Setting<Int>(
    "max-in-hand",
    "Maximum request-body bytes buffered by this node. Beyond it requests are answered 503.",
    shown: "bytes", default: "\(standard.bytesInHand)", in: 1...(1 << 40))
  @Option(help: Self.maxInHand.help) var maxInHand: String?

  private static let maxConnections = Setting<Int>(
    "max-connections",
    "Maximum push connections; lowered if the descriptor limit (ulimit -n) is too small. At the maximum a new connection replaces an old one: first the oldest connection that hasn't sent an active key, else the longest idle connection of an account or client with more than an eighth of all connections. If no connection can be replaced, the new connection is answered 503 or closed.",
    shown: "count", default: "\(standard.connections)", in: 1...1_000_000)
  @Option(help: Self.maxConnections.help) var maxConnections: String?

  private static let maxConnectionsPerAddress = Setting<Int>(
    "max-connections-per-address",
    "Maximum push connections of one client: an IPv4 address or an IPv6 /64. Doesn't apply to --trust-proxies. List your load balancers there: all connections of an unlisted one count as one client's.",
    shown: "count", as: "a quarter of the maximum", in: 1...1_000_000)
  @Option(help: Self.maxConnectionsPerAddress.help) var maxConnectionsPerAddress: String?

  private static let maxRequests = Setting<Int>(
    "max-requests", "Maximum requests per connection; it is closed after that many.", shown: "count",
    default: "\(standard.requestsPerConnection)", in: 1...1_000_000_000)
  @Option(help: Self.maxRequests.help) var maxRequests: String?

  private static let idle = Setting<Duration>(
    "idle", "Idle timeout of a connection. Make it longer than the load balancer's.",
    shown: "time", default: standard.idle.setting, in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.idle.help) var idle: String?

  private static let headDeadline = Setting<Duration>(
    "head-deadline",
    "Timeout for receiving a request's head, or the key in its body. Then it is answered 408.", shown: "time",
    default: standard.headDeadline.setting, in: .milliseconds(100) ... .seconds(600))
  @Option(help: Self.headDeadline.help) var headDeadline: String?

  private static let bodyDeadline = Setting<Duration>(
    "body-deadline", "Timeout for receiving a request's body. Then it is answered 408.", shown: "time",
    default: standard.bodyDeadline.setting, in: .milliseconds(100) ... .seconds(3_600))
  @Option(help: Self.bodyDeadline.help) var bodyDeadline: String?

  private static let accountRate = Setting<Int>(
    "account-rate", "Maximum pushes per second of one account on this node; the burst is twice that.",
    shown: "count", as: "no bound", in: 1...10_000_000)
  @Option(help: Self.accountRate.help) var accountRate: String?

  private static let accountRateStatus = Setting<TooFastStatus>(
    "account-rate-status",
    "HTTP status for pushes beyond --account-rate: 429 (old AppSignal agents stop sending for good), 500, 503 (load balancers retry on another node) or 504.",
    shown: "status", as: "500 for AppSignal, 504 for OTLP, else 429")
  @Option(help: Self.accountRateStatus.help) var accountRateStatus: String?

  private static let grace = Setting<Duration>(
    "grace",
    "Time after SIGTERM in which /readyz is already 503 and connections are still accepted, so that load balancers notice. 0s without a load balancer.",
    shown: "time", default: standard.grace.setting, in: .zero ... .seconds(600))
  @Option(help: Self.grace.help) var grace: String?

  private static let stopDeadline = Setting<Duration>(
    "stop-deadline", "Time for requests in flight to finish after --grace.", shown: "time",
    default: standard.stopDeadline.setting, in: .zero ... .seconds(600))
  @Option(help: Self.stopDeadline.help) var stopDeadline: String?

  func front(_ settings: Settings) throws -> ListenerLimits {
    var limits = ListenerLimits()
    limits.bodyBytes = try settings.value(Self.maxBody, given: maxBody)
    limits.headerBytes = try settings.value(Self.maxHeader, given: maxHeader)
    limits.bytesInHand = try settings.value(Self.maxInHand, given: maxInHand)
    limits.connections = try settings.value(Self.maxConnections, given: maxConnections)
    limits.connectionsPerAddress = try settings.optional(
      Self.maxConnectionsPerAddress, given: maxConnectionsPerAddress)
    limits.requestsPerConnection = try settings.value(Self.maxRequests, given: maxRequests)
    limits.idle = try settings.value(Self.idle, given: idle)
    limits.headDeadline = try settings.value(Self.headDeadline, given: headDeadline)
    limits.bodyDeadline = try settings.value(Self.bodyDeadline, given: bodyDeadline)
    limits.accountRate = try settings.optional(Self.accountRate, given: accountRate)
    limits.tooFastStatus = try settings.optional(Self.accountRateStatus, given: accountRateStatus)
    limits.grace = try settings.value(Self.grace, given: grace)
    limits.stopDeadline = try settings.value(Self.stopDeadline, given: stopDeadline)
    return limits
  }
}

extension TooFastStatus: SettingValue {
  public static var expectation: String { allCases.map { "\($0.rawValue)" }.joined(separator: ", ") }

  public init(setting text: String) throws(InvalidSetting) {
    guard let status = Int(text).flatMap(Self.init(rawValue:)) else {
      throw InvalidSetting(expected: Self.expectation, came: text)
    }
    self = status
  }
}

extension Duration {
  /// In integer seconds, as on the command line.
  fileprivate var setting: String { "\(components.seconds)s" }
}
