import ArgumentParser
import CommandSupport
import Foundation
import KeyReplica
import KeyStore

struct Source: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the moment up to which the store is equal to your database, and sets its maximum age.",
    discussion: """
      A follower marks the store with a moment: everything that was committed in your database before the moment is in the \
      store. With --max-age 60s this command shows whether the mark is older than 60 s. Nodes don't read the mark yet: they \
      prove refusals against the store.
      """)

  @OptionGroup var store: StoreWriting

  private static let maxAge = Setting<MaxAge>(
    "max-age", "The maximum age of the mark: a time of at least 1s, or none.", shown: "time|none",
    as: "unchanged")
  @Option(help: Self.maxAge.help) var maxAge: String?

  private struct Result: Encodable {
    /// Milliseconds since 1970, by Redis's clock.
    var sourceAsOf: UInt64?
    var ageMs: Int64?
    var maxAgeMs: Int64?
    var withinBound: Bool
  }

  func run() async throws {
    let results = try store.results()
    guard let bound = try Settings().optional(Self.maxAge, given: maxAge) else {
      return try await store.store.run { connection, layout in
        try show(try await SourceMarks(connection: connection, layout: layout).read(), results)
      }
    }
    try await store.run { connection, layout in
      let marks = SourceMarks(connection: connection, layout: layout)
      try await marks.setMaxAge(bound.limit)
      try show(try await marks.read(), results)
    }
  }

  private func show(_ read: (position: StoreAnswer<StorePosition>, mark: SourceMark), _ results: Results) throws {
    switch read.position {
    case .found: break
    case .noStore:
      complain("there is no key store")
      throw ExitStatus.failed.code
    case .incompatible(let why):
      complain(why)
      throw ExitStatus.failed.code
    }
    let mark = read.mark
    let age = mark.age.map { Int64($0 / .milliseconds(1)) }
    let maxAge = mark.maxAge.map { Int64($0 / .milliseconds(1)) }
    let seconds = mark.moment.map { Double($0) / 1_000_000 }
    let asOf =
      seconds.map {
        "everything that was committed before \(Date(timeIntervalSince1970: $0).formatted(.iso8601)) is in the store"
      } ?? "the store was never marked"
    let ageText =
      if let age {
        ", \(age) ms ago"
      } else if mark.moment == nil {
        ""
      } else if mark.readAt == nil {
        "; its age is unknown, because Redis denies TIME"
      } else {
        "; the mark is in the future, because Redis's clock was set back"
      }
    try results.print(
      """
      source   \(asOf)\(ageText)
      max age  \(maxAge.map { "\($0) ms" } ?? "none")
      mark     \(mark.isWithinBound ? "within its maximum age" : "missing or older than its maximum age")
      """,
      Result(
        sourceAsOf: mark.moment.map { $0 / 1_000 }, ageMs: age, maxAgeMs: maxAge, withinBound: mark.isWithinBound))
  }
}

/// A maximum age, or `none`.
private struct MaxAge: SettingValue {
  /// Nil for `none`.
  let limit: Duration?

  static let expectation = "none, or a length of time of at least 1s such as 60s or 5m"

  init(setting text: String) throws(InvalidSetting) {
    guard text != "none" else {
      limit = nil
      return
    }
    let time = try Duration(setting: text)
    guard time >= .seconds(1) else { throw InvalidSetting(expected: Self.expectation, came: text) }
    limit = time
  }
}
