// Dead letters as people and as programs read them.

import Foundation
public import IngestQueue

/// A table of dead letters.
public struct DeadLetterTable: Sendable {
  private var table = TextTable([
    ("ID", .left), ("ATTEMPTS", .right), ("DEATHS", .right), ("FIRST FAILED", .left), ("DIED", .left),
    ("ACCOUNT", .left),
    ("WORKER", .left), ("BYTES", .right), ("REASON", .left),
  ])
  private let colours: Bool

  public init(colours: Bool) { self.colours = colours }

  public mutating func add(_ found: FoundLetter) {
    switch found {
    case .success(let letter):
      table.add([
        .init(letter.id), .init(Wording.count(letter.attempts)), .init(Wording.count(letter.deaths)),
        .init(Wording.moment(letter.firstAt)), .init(Wording.moment(letter.diedAt)), .init(letter.account ?? "-"),
        .init(letter.worker), .init(Wording.count(letter.bytes)), .init(String(letter.reason.prefix(200))),
      ])
    case .failure(let letter):
      table.add(
        [.init(letter.id)] + Array(repeating: .init("?"), count: 6)
          + [.init(Wording.count(letter.bytes)), .init(letter.description, .bad)])
    }
  }

  /// Each line ended.
  public func render() -> String { table.lines(indent: "", colours: colours).map { $0 + "\n" }.joined() }
}

/// One dead letter as a JSON object. Names are promised, as those of all documents here.
public struct DeadLetterDocument: Sendable, Encodable {
  private let shard: Int
  private let found: FoundLetter

  public init(_ found: FoundLetter, shard: Int) {
    self.found = found
    self.shard = shard
  }

  /// One line, ended.
  public func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
  }

  private enum Key: String, CodingKey {
    case id, shard, entry, readable, reason, attempts, deaths, worker, account, bytes
    case firstAt = "first_at"
    case diedAt = "died_at"
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(found.id, forKey: .id)
    try container.encode(shard, forKey: .shard)
    try container.encode("\(found.entry)", forKey: .entry)
    try container.encode(found.bytes, forKey: .bytes)
    try container.encode(found.reason, forKey: .reason)
    var letter: DeadLetter?
    if case .success(let readable) = found { letter = readable }
    try container.encode(letter != nil, forKey: .readable)
    try container.encode(letter?.attempts, forKey: .attempts)
    try container.encode(letter?.deaths, forKey: .deaths)
    try container.encode(letter.map { Double($0.firstAt) / 1_000 }, forKey: .firstAt)
    try container.encode(letter.map { Double($0.diedAt) / 1_000 }, forKey: .diedAt)
    try container.encode(letter?.worker, forKey: .worker)
    try container.encode(letter?.account, forKey: .account)
  }
}

extension Wording {
  /// `2026-11-27 20:15:03Z`, of milliseconds since 1970.
  public static func moment(_ milliseconds: Int64) -> String {
    // Up to the year 9999: what isn't a time isn't shown as one.
    guard (0..<253_402_300_800_000).contains(milliseconds) else { return "?" }
    let style = Date.ISO8601FormatStyle(dateTimeSeparator: .space)
    return Date(timeIntervalSince1970: Double(milliseconds) / 1_000).formatted(style)
  }
}
