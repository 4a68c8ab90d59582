import ArgumentParser
public import CommandSupport
import IngestNode
public import KeyReplica

/// The options for the proof of refusals, and for refusal storms.
struct RefusalArguments: ParsableArguments {
  private static let standard = Replica.Limits()

  private static let proveAgainst = Setting<ProofBasis>(
    "prove-against",
    "What proves a refusal: store, a read of the key store; or source, a source mark of your own database, which needs a follower (key-publisher follow). Either must be from after the request's arrival. With source a refusal waits for the follower's next mark.",
    shown: "store|source", default: standard.proveAgainst.rawValue)
  @Option(help: Self.proveAgainst.help) var proveAgainst: String?

  private static let stormKeys = Setting<Int>(
    "refusal-storm-keys",
    "Minimum distinct unknown keys for a refusal storm, in which unknown keys are answered 503. They must also be more than --refusal-storm-share of all distinct keys.",
    shown: "count", default: "\(standard.stormKeys)", in: 1...100_000)
  @Option(help: Self.stormKeys.help) var refusalStormKeys: String?

  private static let stormShare = Setting<Int>(
    "refusal-storm-share",
    "Maximum share of unknown keys among all distinct keys. Above it there is a refusal storm (see --refusal-storm-keys). 100: never.",
    shown: "percent", default: "\(standard.stormShare)", in: 1...100)
  @Option(help: Self.stormShare.help) var refusalStormShare: String?

  private static let stormWindow = Setting<Duration>(
    "refusal-storm-window", "Time for which distinct keys are counted.", shown: "time",
    default: "\(standard.stormWindow.components.seconds)s", in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.stormWindow.help) var refusalStormWindow: String?

  func apply(to configuration: inout IngestNode.Configuration, _ settings: Settings) throws {
    configuration.replica.proveAgainst = try settings.value(Self.proveAgainst, given: proveAgainst)
    configuration.replica.stormKeys = try settings.value(Self.stormKeys, given: refusalStormKeys)
    configuration.replica.stormShare = try settings.value(Self.stormShare, given: refusalStormShare)
    configuration.replica.stormWindow = try settings.value(Self.stormWindow, given: refusalStormWindow)
  }
}

extension ProofBasis: SettingValue {}
