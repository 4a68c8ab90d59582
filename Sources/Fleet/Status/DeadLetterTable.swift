// Dead letters: a table for people, and JSON for programs.

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

  /// The table, with a line end after each line.
  public func render() -> String { table.lines(indent: "", colours: colours).map { $0 + "\n" }.joined() }
}

/// One dead letter as a JSON object. The names are promised, as in all JSON documents here.
public struct DeadLetterDocument: Sendable, Encodable {
  private let id: String
  private let shard: Int
  private let entry: String
  private let bytes: Int
  private let reason: String
  private let readable: Bool
  @OrNull private var attempts: Int?
  @OrNull private var deaths: Int?
  @OrNull private var firstAt: Double?
  @OrNull private var diedAt: Double?
  @OrNull private var worker: String?
  @OrNull private var account: String?

  public init(_ found: FoundLetter, shard: Int) {
    id = found.id
    self.shard = shard
    entry = "\(found.entry)"
    bytes = found.bytes
    reason = found.reason
    let letter = try? found.get()
    readable = letter != nil
    attempts = letter?.attempts
    deaths = letter?.deaths
    firstAt = letter.map { Double($0.firstAt) / 1_000 }
    diedAt = letter.map { Double($0.diedAt) / 1_000 }
    worker = letter?.worker
    account = letter?.account
  }

  /// One line, with its line end.
  public func json() throws -> String { try promisedText(pretty: false) }
}

extension Wording {
  /// `2026-11-27 20:15:03Z`, from milliseconds since 1970.
  public static func moment(_ milliseconds: Int64) -> String {
    // Up to the year 9999. A number beyond isn't a time, so it isn't shown as one.
    guard (0..<253_402_300_800_000).contains(milliseconds) else { return "?" }
    let style = Date.ISO8601FormatStyle(dateTimeSeparator: .space)
    return Date(timeIntervalSince1970: Double(milliseconds) / 1_000).formatted(style)
  }
}
