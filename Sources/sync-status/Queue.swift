import ArgumentParser
import Fleet
import CommandSupport

/// Shows the content of the queue.
struct Queue: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the queue, shard by shard, and what is wrong with it.",
    discussion: """
      Exit status: 0 payloads flow, 1 something blocks them or needs an operator (dead letters), 2 not all shards could be \
      read.
      """)

  @OptionGroup var access: FleetAccess

  private static let json = Setting.flag("json", "Print JSON instead of a page.")
  @Flag(help: Self.json.help) var json = false

  func run() async throws {
    let json = try Settings().flag(Self.json, given: json)
    try await access.run { fleet in
      let facts = await QueueFacts.read(shards: fleet.shards, directory: fleet.directory, within: .seconds(2))
      let verdict = QueueVerdict(facts)
      for text in verdict.unknown { complain("unknown: \(text)") }
      try write(
        json
          ? QueueDocument(facts, verdict).json()
          : QueueTable(facts, verdict, colours: Terminal.output.colours).render())
      if verdict.exitCode != 0 { throw ExitCode(verdict.exitCode) }
    }
  }
}
