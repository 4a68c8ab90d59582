import ArgumentParser
import CommandSupport
import IngestNode
import KeyReplica

/// The options of the refusal valve.
struct RefusalArguments: ParsableArguments {
  private static let standard = Replica.Limits()

  private static let stormKeys = Setting<Int>(
    "refusal-storm-keys",
    "Minimum distinct unknown keys for a refusal storm. If they are also more than --refusal-storm-share of all distinct keys, unknown keys are answered 503.",
    shown: "count", default: "\(standard.stormKeys)", in: 1...100_000)
  @Option(help: Self.stormKeys.help) var refusalStormKeys: String?

  private static let stormShare = Setting<Int>(
    "refusal-storm-share",
    "Maximum share of unknown keys among all distinct keys. Above it there is a refusal storm. 100 turns the valve off.",
    shown: "percent", default: "\(standard.stormShare)", in: 1...100)
  @Option(help: Self.stormShare.help) var refusalStormShare: String?

  private static let stormWindow = Setting<Duration>(
    "refusal-storm-window", "Time for which distinct keys are counted.", shown: "time",
    default: "\(standard.stormWindow.components.seconds)s", in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.stormWindow.help) var refusalStormWindow: String?

  func apply(to configuration: inout IngestNode.Configuration, _ settings: Settings) throws {
    configuration.replica.stormKeys = try settings.value(Self.stormKeys, given: refusalStormKeys)
    configuration.replica.stormShare = try settings.value(Self.stormShare, given: refusalStormShare)
    configuration.replica.stormWindow = try settings.value(Self.stormWindow, given: refusalStormWindow)
  }
}
