import ArgumentParser
import IngestNode
public import IngestQueue
public import CommandSupport

/// How full the queue may become, and the required durability.
struct QueueLimitArguments: ParsableArguments {
  private static let standard = QueueLimits()

  private static let maxQueueEntries = Setting<Int>(
    "max-queue-entries",
    "Maximum payloads waiting in a shard of the queue. A shard beyond it gets no pushes until --queue-low-water is reached; they go to other shards or are answered 503.",
    shown: "count", default: "\(standard.entries)", in: 1...1_000_000_000)
  @Option(help: Self.maxQueueEntries.help) var maxQueueEntries: String?

  private static let maxQueueBytes = Setting<Int>(
    "max-queue-bytes",
    "Maximum bytes of payloads waiting in a shard of the queue, including some 200 bytes of metadata each. Redis uses up to a quarter more memory.",
    shown: "bytes", default: "\(standard.bytes)", in: 1...(1 << 44))
  @Option(help: Self.maxQueueBytes.help) var maxQueueBytes: String?

  private static let maxQueueMemory = Setting<Int>(
    "max-queue-memory", "Maximum share of Redis's maxmemory that may be in use, by any data.",
    shown: "percent", default: "\(standard.memoryPercent)", in: 1...100)
  @Option(help: Self.maxQueueMemory.help) var maxQueueMemory: String?

  private static let queueLowWater = Setting<Int>(
    "queue-low-water", "Share of these limits below which pushes are accepted again.", shown: "percent",
    default: "\(standard.lowWaterPercent)", in: 1...99)
  @Option(help: Self.queueLowWater.help) var queueLowWater: String?

  private static let requireDurability = Setting<DurabilityRequirement>(
    "require-durability",
    "Minimum queue durability: \(DurabilityRequirement.expectation). With less the node doesn't start; if Redis falls below it later, pushes are answered 503.",
    shown: "level", default: "none")
  @Option(help: Self.requireDurability.help) var requireDurability: String?

  func apply(to configuration: inout IngestNode.Configuration, _ settings: Settings) throws {
    configuration.queueLimits = QueueLimits(
      entries: try settings.value(Self.maxQueueEntries, given: maxQueueEntries),
      bytes: try settings.value(Self.maxQueueBytes, given: maxQueueBytes),
      memoryPercent: try settings.value(Self.maxQueueMemory, given: maxQueueMemory),
      lowWaterPercent: try settings.value(Self.queueLowWater, given: queueLowWater))
    configuration.requiredDurability = try settings.value(Self.requireDurability, given: requireDurability)
  }
}

extension DurabilityRequirement: SettingValue {
  public static var expectation: String { "none, everysec, always, or replicas:N with N from 1 to 100" }

  public init(setting text: String) throws(InvalidSetting) {
    switch text {
    case "none": self = .none
    case "everysec": self = .everySecond
    case "always": self = .always
    default:
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, parts[0] == "replicas", let count = Int(parts[1]), (1...100).contains(count) else {
        throw InvalidSetting(expected: Self.expectation, came: text)
      }
      self = .replicas(count)
    }
  }
}
