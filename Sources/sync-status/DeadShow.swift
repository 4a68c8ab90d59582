import ArgumentParser
import Fleet
import IngestQueue
import CommandSupport

struct DeadShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows a dead letter, or writes its payload to the standard output.",
    discussion: """
      --payload writes the payload. If the payload can't be parsed, it writes the stored bytes; if the Redis entry isn't a \
      dead letter, all its fields. Exit status: 0 it is shown, 1 there is no such dead letter, 2 not all shards could be read.
      """)

  @OptionGroup var access: FleetAccess

  private static let payload = Setting.flag("payload", "Write the payload, byte for byte, and nothing else.")
  @Flag(help: Self.payload.help) var payload = false

  @Argument(help: ArgumentHelp("Its id, as listed.", valueName: "id")) var id: String

  func run() async throws {
    let payload = try Settings().flag(Self.payload, given: payload)
    try await access.run { fleet in
      let (shards, reachesAll) = await fleet.deadLetters()
      var areAll = reachesAll
      for shard in shards {
        do {
          guard let letter = try await find(in: shard) else { continue }
          return try await payload ? save(letter, of: shard) : show(letter, of: shard)
        } catch let error as QueueFailure {
          complain("unknown: \(shard.place): \(error)")
          areAll = false
        }
      }
      complain("there is no dead letter \(id)" + (areAll ? "" : " in the shards that could be read"))
      throw areAll ? Outcome.notInSync : Outcome.cannotTell
    }
  }

  /// The newest one with that ID.
  private func find(in shard: DeadShard) async throws(QueueFailure) -> FoundLetter? {
    var walk = shard.letters.walk(.newest)
    while let letter = try await walk.next() {
      if letter.id == id { return letter }
    }
    return nil
  }

  private func show(_ found: FoundLetter, of shard: DeadShard) async throws {
    let beginning = try await part(of: found, of: shard, from: 0, most: EnvelopeHeader.longestLine)
    var lines = [("id", found.id), ("where", "\(shard.place), entry \(found.entry)"), ("reason", found.reason)]
    if case .success(let letter) = found {
      lines += [
        ("attempts", Wording.count(letter.attempts)), ("worker deaths", Wording.count(letter.deaths)),
        ("first failed", Wording.moment(letter.firstAt)), ("dead since", Wording.moment(letter.diedAt)),
        ("worker", letter.worker), ("account", letter.account ?? "-"),
      ]
    }
    switch Self.header(beginning) {
    case .success(let length):
      lines.append(("envelope", String(decoding: beginning.prefix(length - 1), as: UTF8.self)))
      lines.append(("payload", "\(Wording.count(found.bytes - length)) bytes; --payload writes them"))
    case .failure(let error):
      lines.append(("envelope", "\(error)"))
      lines.append(("raw", "\(Wording.count(found.bytes)) bytes; --payload writes them"))
    }
    let width = lines.map(\.0.count).max() ?? 0
    for (name, value) in lines {
      try write(
        name + String(repeating: " ", count: width - name.count + 2) + Wording.printable(value) + "\n")
    }
  }

  /// Writes part by part: the payload may be larger than the available memory.
  private func save(_ found: FoundLetter, of shard: DeadShard) async throws {
    let size = 4 << 20
    var bytes = try await part(of: found, of: shard, from: 0, most: size)
    var offset = 0
    if case .success = found, case .success(let length) = Self.header(bytes) {
      offset = length
      bytes = Array(bytes.dropFirst(length))
    }
    while !bytes.isEmpty {
      try write(bytes)
      offset += bytes.count
      bytes = try await part(of: found, of: shard, from: offset, most: size)
    }
  }

  private func part(
    of found: FoundLetter, of shard: DeadShard, from offset: Int, most: Int
  ) async throws -> [UInt8] {
    guard let part = try await shard.letters.part(of: found.entry, from: offset, most: most) else {
      complain(
        "\(found.id) was requeued or discarded meanwhile" + (offset > 0 ? "; the output is incomplete" : ""))
      throw Outcome.notInSync
    }
    return part
  }

  /// The length of the envelope's line, including its newline.
  private static func header(_ beginning: [UInt8]) -> Result<Int, InvalidEnvelope> {
    do throws(InvalidEnvelope) {
      return .success(beginning.count - (try Envelope(beginning)).payload.count)
    } catch {
      return .failure(error)
    }
  }
}
