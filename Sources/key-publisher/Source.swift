import ArgumentParser
import CommandSupport
import Foundation
import KeyReplica
import KeyStore

struct Source: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows how current the store is (the source mark), and sets the mark's maximum age.",
    discussion: """
      A follower writes the source mark, a time: everything that was committed in your database before that time is in the \
      store. With --max-age 60s unknown and revoked keys are answered 503 while the mark is missing or older than 60 s. With \
      none, the default, the mark is only shown, which is right if keys are changed by hand.
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
        "all commits before \(Date(timeIntervalSince1970: $0).formatted(.iso8601)) are in the store"
      } ?? "the store has no source mark"
    let ageText =
      if let age {
        " (\(age) ms ago)"
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
      refusals \(mark.isWithinBound ? "allowed" : "suspended: the mark is missing or older than its maximum age, so unknown keys are answered 503")
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
