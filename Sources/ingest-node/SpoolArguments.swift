import ArgumentParser
import IngestNode
import IngestSpool
import CommandSupport

/// The options of the spool.
struct SpoolArguments: ParsableArguments {
  private static let standard = SpoolLimits()

  private static let spool = Setting<String>(
    "spool",
    "Directory for payloads that arrive while Redis is unreachable, used by this node only. They are on disk before they are acknowledged, and pushed when Redis is back.",
    shown: "folder", as: "none: such pushes are answered 503")
  @Option(help: Self.spool.help) var spool: String?

  private static let spoolBytes = Setting<Int>(
    "spool-bytes", "Maximum bytes of payloads in the spool. Beyond it pushes are answered 503.", shown: "bytes",
    default: "\(standard.bytes)", in: 1...(1 << 50))
  @Option(help: Self.spoolBytes.help) var spoolBytes: String?

  private static let spoolAge = Setting<Duration>(
    "spool-age",
    "Maximum age of the oldest payload in the spool. Beyond it pushes are answered 503; nothing is dropped.",
    shown: "time", default: "24h", in: .seconds(1) ... .seconds(365 * 86_400))
  @Option(help: Self.spoolAge.help) var spoolAge: String?

  private static let spoolRate = Setting<Int>(
    "spool-rate", "Maximum payloads pushed from the spool per second when Redis is back.", shown: "count",
    default: "\(standard.drainedPerSecond)", in: 1...1_000_000)
  @Option(help: Self.spoolRate.help) var spoolRate: String?

  func apply(to configuration: inout IngestNode.Configuration, _ settings: Settings) throws {
    configuration.spoolFolder = try settings.optional(Self.spool, given: spool)
    configuration.spool.bytes = try settings.value(Self.spoolBytes, given: spoolBytes)
    configuration.spool.age = try settings.value(Self.spoolAge, given: spoolAge)
    configuration.spool.drainedPerSecond = try settings.value(Self.spoolRate, given: spoolRate)
  }
}
