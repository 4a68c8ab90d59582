import ArgumentParser
import Fleet
import IngestQueue
import CommandSupport

struct DeadList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists dead letters, the newest first. The default subcommand.")

  @OptionGroup var access: FleetAccess
  @OptionGroup var filter: DeadLetterFilterOptions

  private static let limit = Setting<Int>(
    "limit", "Maximum number of dead letters.", shown: "number", default: "50", in: 1...100_000)
  @Option(help: Self.limit.help) var limit: String?

  private static let json = Setting.flag("json", "One JSON object a line instead of a table.")
  @Flag(help: Self.json.help) var json = false

  func run() async throws {
    let settings = Settings()
    let filter = try filter.filter(settings)
    let limit = try settings.value(Self.limit, given: limit)
    let json = try settings.flag(Self.json, given: json)
    try await access.run { fleet in
      var (shards, areAll) = await fleet.deadLetters()
      var walk = await NewestFirst(shards)
      var table = DeadLetterTable(colours: Terminal.output.colours)
      var listed = 0
      var hasMore = false
      while let (shard, found) = await walk.next() {
        guard filter.matches(found) else { continue }
        guard listed < limit else {
          hasMore = true
          break
        }
        listed += 1
        if json { try write(DeadLetterDocument(found, shard: shard.number).json()) } else { table.add(found) }
      }
      areAll = areAll && walk.areAll
      if !json, listed > 0 { try write(table.render()) }
      if listed == 0, areAll { complain("there are no such dead letters") }
      if hasMore { complain("there are more; to see them give a larger --limit") }
      if !areAll { throw Outcome.cannotTell }
    }
  }
}

/// The dead letters of all shards in one order. Holds a page of each.
private struct NewestFirst {
  private struct Way {
    let shard: DeadShard
    var walk: DeadLetterWalk
    var next: FoundLetter
  }

  private var ways: [Way] = []
  /// False once a shard couldn't be read to its end, which has been reported.
  private(set) var areAll = true

  init(_ shards: [DeadShard]) async {
    for shard in shards {
      var walk = shard.letters.walk(.newest)
      if let first = await step(&walk, shard) { ways.append(Way(shard: shard, walk: walk, next: first)) }
    }
  }

  mutating func next() async -> (DeadShard, FoundLetter)? {
    guard let newest = ways.indices.max(by: { ways[$0].next.entry < ways[$1].next.entry }) else { return nil }
    var way = ways.remove(at: newest)
    let result = (way.shard, way.next)
    if let next = await step(&way.walk, way.shard) {
      way.next = next
      ways.append(way)
    }
    return result
  }

  private mutating func step(_ walk: inout DeadLetterWalk, _ shard: DeadShard) async -> FoundLetter? {
    do {
      return try await walk.next()
    } catch {
      complain("unknown: \(shard.place): \(error)")
      areAll = false
      return nil
    }
  }
}
