import ArgumentParser
import Foundation
import IngestQueue
import CommandSupport

/// Payloads that couldn't be stored: list, show, requeue, discard.
struct Dead: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists, shows, requeues or discards dead letters.",
    discussion: """
      A payload is a dead letter when it can't be stored, failed too often, or workers died over it. It stays until somebody \
      decides. All verbs look at all shards; where one is away they say so, do the others, and end with status 2.
      """,
    subcommands: [DeadList.self, DeadShow.self, DeadRequeue.self, DeadDiscard.self],
    defaultSubcommand: DeadList.self)
}

/// Selects dead letters by their properties.
struct DeadLetterFilterOptions: ParsableArguments {
  private static let reason = Setting<String>("reason", "Those whose reason contains this text.", shown: "text")
  @Option(help: Self.reason.help) var reason: String?

  private static let account = Setting<String>("account", "Those of this account.", shown: "account")
  @Option(help: Self.account.help) var account: String?

  private static let worker = Setting<MemberName>("worker", "Those that this worker gave up.", shown: "name")
  @Option(help: Self.worker.help) var worker: String?

  var isGiven: Bool { reason != nil || account != nil || worker != nil }

  func filter(_ settings: Settings) throws -> DeadLetterFilter {
    DeadLetterFilter(
      reason: try settings.optional(Self.reason, given: reason),
      account: try settings.optional(Self.account, given: account),
      worker: try settings.optional(Self.worker, given: worker)?.text)
  }
}

/// Selects the dead letters to process. All of them are selected only if --all is given.
struct DeadLetterChoice: ParsableArguments {
  private static let ids = Setting<LetterIDs>(
    "id", "Those with this id, or with one of several with spaces between them. May be given more than once.",
    shown: "ids")
  @Option(help: Self.ids.help) var id: [String] = []

  @OptionGroup var filter: DeadLetterFilterOptions

  @Flag(help: .confirmation("All of them.")) var all = false

  private static let limit = Setting<Int>(
    "limit", "At most so many, the oldest first.", shown: "number", as: "no limit", in: 1...1_000_000_000)
  @Option(help: Self.limit.help) var limit: String?

  /// The filter, and the limit.
  func resolve(_ settings: Settings) throws -> (filter: DeadLetterFilter, limit: Int) {
    // A selection on the command line isn't narrowed or widened by the environment.
    let isGiven = !id.isEmpty || all || filter.isGiven
    let choosing = isGiven ? Settings(environment: [:]) : settings
    let ids = try choosing.optional(Self.ids, given: id.isEmpty ? nil : id.joined(separator: " "))
    var chosen = try filter.filter(choosing)
    let isNarrowed = chosen != DeadLetterFilter()
    switch (ids, isNarrowed, all) {
    case (let ids?, false, false): chosen.ids = ids.ids
    case (nil, true, false), (nil, false, true): break
    default:
      throw ValidationError(
        "expected either --id, or --all, or at least one of --reason, --account and --worker")
    }
    return (chosen, try settings.optional(Self.limit, given: limit) ?? .max)
  }
}

/// IDs of dead letters separated by spaces.
struct LetterIDs: SettingValue {
  let ids: Set<String>

  static var expectation: String { "ids of dead letters with spaces between them" }

  init(setting text: String) throws(InvalidSetting) {
    let ids = text.split(separator: " ").map(String.init)
    guard !ids.isEmpty, ids.allSatisfy({ $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") } })
    else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self.ids = Set(ids)
  }
}

/// Writes to standard output.
/// - Throws: The exit status for an unanswered question, if the reader has closed the pipe.
func write(_ bytes: some Sequence<UInt8>) throws {
  do {
    try FileHandle.standardOutput.write(contentsOf: Data(bytes))
  } catch {
    complain("can't write to the standard output: \(error.localizedDescription)")
    throw Outcome.cannotTell
  }
}

func write(_ text: String) throws { try write(text.utf8) }
