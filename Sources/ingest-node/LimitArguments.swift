import ArgumentParser
public import IngestNode
public import Sluice

/// What the node takes from its clients, and for how long.
struct LimitArguments: ParsableArguments {
  private static let standard = FrontLimits()

  private static let maxBody = Setting<Int>(
    "max-body", "The largest body taken, as it comes, in bytes; more is answered 413.", shown: "bytes",
    default: "\(standard.bodyBytes)", in: 1...(1 << 30))
  @Option(help: Self.maxBody.help) var maxBody: String?

  private static let maxHeader = Setting<Int>(
    "max-header", "The most bytes of all header lines of a request together; more is answered 431.", shown: "bytes",
    default: "\(standard.headerBytes)", in: 1_024...49_152)
  @Option(help: Self.maxHeader.help) var maxHeader: String?

  private static let maxInHand = Setting<Int>(
    "max-in-hand",
    "The most bytes of bodies that the node holds at once, from their first byte to their answer; more is answered 503.",
    shown: "bytes", default: "\(standard.bytesInHand)", in: 1...(1 << 40))
  @Option(help: Self.maxInHand.help) var maxInHand: String?

  private static let maxConnections = Setting<Int>(
    "max-connections",
    "Maximum push connections. Lowered to what the descriptor limit (ulimit -n) leaves. At the maximum a new connection replaces the oldest that hasn't shown an active key, or the longest idle of an account or client with more than an eighth; if there is none, it is answered 503 or closed.",
    shown: "count", default: "\(standard.connections)", in: 1...1_000_000)
  @Option(help: Self.maxConnections.help) var maxConnections: String?

  private static let maxConnectionsPerAddress = Setting<Int>(
    "max-connections-per-address",
    "Maximum push connections of one client: an IPv4 address or an IPv6 /64. Doesn't hold for --trust-proxies; a balancer that isn't among them counts as one client.",
    shown: "count", as: "a quarter of the maximum", in: 1...1_000_000)
  @Option(help: Self.maxConnectionsPerAddress.help) var maxConnectionsPerAddress: String?

  private static let maxRequests = Setting<Int>(
    "max-requests", "After so many requests a connection ends.", shown: "count",
    default: "\(standard.requestsPerConnection)", in: 1...1_000_000_000)
  @Option(help: Self.maxRequests.help) var maxRequests: String?

  private static let idle = Setting<Duration>(
    "idle", "How long a connection may be without a request. Longer than the balancer before it leaves it idle.",
    shown: "time", default: standard.idle.setting, in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.idle.help) var idle: String?

  private static let headDeadline = Setting<Duration>(
    "head-deadline",
    "How long the head of a request, or a key in its body, may take to come; then it is answered 408.", shown: "time",
    default: standard.headDeadline.setting, in: .milliseconds(100) ... .seconds(600))
  @Option(help: Self.headDeadline.help) var headDeadline: String?

  private static let bodyDeadline = Setting<Duration>(
    "body-deadline", "How long the body of a request may take to come; then it is answered 408.", shown: "time",
    default: standard.bodyDeadline.setting, in: .milliseconds(100) ... .seconds(3_600))
  @Option(help: Self.bodyDeadline.help) var bodyDeadline: String?

  private static let accountRate = Setting<Int>(
    "account-rate", "Pushes of one account that this node takes each second; twice as many may come at once.",
    shown: "count", as: "no bound", in: 1...10_000_000)
  @Option(help: Self.accountRate.help) var accountRate: String?

  private static let accountRateStatus = Setting<TooFastStatus>(
    "account-rate-status",
    "What an account hears beyond --account-rate, whatever its client: 429 (ends old AppSignal agents), 500, 503 (which balancers repeat at other nodes) or 504.",
    shown: "status",
    as: "what each dialect's clients bear and no balancer repeats: 500 for AppSignal, 504 for OTLP, else 429")
  @Option(help: Self.accountRateStatus.help) var accountRateStatus: String?

  private static let grace = Setting<Duration>(
    "grace",
    "How long after SIGTERM the node goes on taking connections while it says that it isn't ready, for balancers to notice. 0s without any.",
    shown: "time", default: standard.grace.setting, in: .zero ... .seconds(600))
  @Option(help: Self.grace.help) var grace: String?

  private static let stopDeadline = Setting<Duration>(
    "stop-deadline", "How long what is in flight may take to end after that.", shown: "time",
    default: standard.stopDeadline.setting, in: .zero ... .seconds(600))
  @Option(help: Self.stopDeadline.help) var stopDeadline: String?

  func front(_ settings: Settings) throws -> FrontLimits {
    var limits = FrontLimits()
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
  /// In whole seconds, as one writes it.
  fileprivate var setting: String { "\(components.seconds)s" }
}
