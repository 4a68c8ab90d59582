import ArgumentParser
import Foundation
import KeyStore
import CommandSupport

struct PurgeRevoked: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge",
    abstract: "Deletes records of keys that were revoked long ago.",
    discussion: """
      Such a key is refused as unknown (401) from then on, and no longer as revoked (403). Records of active and \
      suspended keys are never deleted. A node that was offline since before the revocation would see the key as vanished, and admit it until \
      key-publisher confirm. Choose more days than any node is ever offline.

      Without --yes it only counts, changes nothing, and ends with status 1 if there is something to do.
      """)

  @OptionGroup var store: StoreWriting

  private static let before = Setting<String>(
    "before", "Revoked before this day (2025-01-31) or moment (2025-01-31T12:00:00Z), in UTC.", shown: "date")
  @Option(help: Self.before.help) var before: String?

  private static let olderThan = Setting<Int>(
    "older-than", "Revoked more than this number of days ago.", shown: "days", in: 0...36_500)
  @Option(help: Self.olderThan.help) var olderThan: String?

  @Flag(help: .confirmation("Do it.")) var yes = false

  func run() async throws {
    let settings = Settings()
    let moment = try moment(settings)
    let words = moment.formatted(.iso8601)
    let seconds = Int64(moment.timeIntervalSince1970)
    let results = try store.results()
    try await store.run { connection, layout in
      let purge = Purge(connection: connection, layout: layout)
      var progress = Progress("looking at", total: StoreLayout.bucketCount, unit: "buckets")
      let count = try await purge.count(revokedBefore: seconds) { progress.update($0) }
      progress.finish()
      try results.remark("\(count) keys were revoked before \(words)")
      if count == 0 {
        if results.isJSON { try results.print("", PurgeResult(removed: 0)) }
        return
      }
      guard yes else {
        complain("nothing was changed; to delete their records use --yes")
        throw ExitStatus.failed.code
      }
      progress = Progress("purging", total: StoreLayout.bucketCount, unit: "buckets")
      let outcome = try await purge.run(revokedBefore: seconds) { progress.update($0) }
      progress.finish()
      try results.print(
        "\(outcome?.changed ?? 0) records were deleted" + (outcome.map { "; version \($0.version)" } ?? ""),
        PurgeResult(removed: outcome?.changed ?? 0, version: outcome?.version))
    }
  }

  private func moment(_ settings: Settings) throws -> Date {
    let moment: Date
    switch (
      try settings.optional(Self.before, given: before),
      try settings.optional(Self.olderThan, given: olderThan)
    ) {
    case (let text?, nil):
      guard let parsed = Self.parse(text) else {
        throw ValidationError("--before: expected 2025-01-31 or 2025-01-31T12:00:00Z, got \"\(text)\"")
      }
      moment = parsed
    case (nil, let days?): moment = Date() - Double(days) * 86_400
    default: throw ValidationError("expected either --before or --older-than (or SLUICE_BEFORE or SLUICE_OLDER_THAN)")
    }
    guard moment <= Date() else { throw ValidationError("--before: expected a moment in the past") }
    return moment
  }

  private static func parse(_ text: String) -> Date? {
    let day = Date.ISO8601FormatStyle().year().month().day()
    for style in [day, .iso8601] {
      do { return try style.parse(text) } catch { continue }
    }
    return nil
  }
}

private struct PurgeResult: Encodable {
  var removed: Int
  var version: UInt64?
}
