import ArgumentParser
import CommandSupport
import IngestNode
import KeyReplica

/// When the node stops refusing unknown keys because they are too many.
struct RefusalArguments: ParsableArguments {
  private static let standard = Replica.Limits()

  private static let stormKeys = Setting<Int>(
    "refusal-storm-keys",
    "Distinct unknown keys from which on a refusal storm is possible. If they are also more than --refusal-storm-share of all distinct keys, unknown keys are answered 503.",
    shown: "count", default: "\(standard.stormKeys)", in: 1...100_000)
  @Option(help: Self.stormKeys.help) var refusalStormKeys: String?

  private static let stormShare = Setting<Int>(
    "refusal-storm-share",
    "Share of unknown keys among all distinct keys above which there is a refusal storm. 100 turns it off.",
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
