import KeyReplica
import KeyStore
import Testing

@testable import SourceFollower

@Suite struct OutboxBatchTests {
  private static func id(_ secret: String) -> String { KeyID(secret: secret.utf8).hex }

  private static func row(
    _ number: Int, _ secret: String, _ state: String?, revision: String? = nil, account: String = "acme",
    end: String? = nil, deleted: Bool = false
  ) -> [String?] {
    ["false", "\(number)", id(secret), account, state, revision, end, deleted ? "true" : "false", "session"]
  }

  @Test func `an empty outbox says whether the server is a standby`() throws {
    let nothing: [String?] = Array(repeating: nil, count: 7) + ["session"]
    let batch = try OutboxBatch([["false"] + nothing])
    #expect(batch.session == "session")
    #expect(batch.isEmpty && batch.isComplete && !batch.isStandby && batch.additions.isEmpty)
    #expect(try OutboxBatch([["true"] + nothing]).isStandby)
    #expect(throws: OutboxBatch.Unexpected.self) { try OutboxBatch([]) }
    #expect(throws: OutboxBatch.Unexpected.self) { try OutboxBatch([["false", "1"]]) }
  }

  @Test func `of each key the change with the largest number counts, in whatever order they come`() throws {
    let batch = try OutboxBatch([
      Self.row(9, "a", "active"), Self.row(3, "a", "revoked", deleted: true), Self.row(5, "b", "suspended"),
      Self.row(4, "b", "active"),
    ])
    #expect(batch.numbers.sorted() == [3, 4, 5, 9])
    #expect(batch.additions.map(\.revision) == [9])
    #expect(batch.additions.map(\.kind) == [.put(account: "acme", .active)])
    #expect(batch.ends.map(\.kind) == [.setState(.suspended)])
    // No edit is marked as agreed: the nodes' guard judges large numbers of removals.
    #expect(batch.ends.allSatisfy { !$0.allowing.contains(.end) })
    #expect(batch.records.map(\.kind) == [.put(account: "acme", .suspended)])
  }

  @Test func `a deleted key is ended, and not written anew`() throws {
    let batch = try OutboxBatch([Self.row(1, "a", "revoked", deleted: true)])
    #expect(batch.ends.map(\.kind) == [.setState(.revoked)] && batch.records.isEmpty && batch.additions.isEmpty)
  }

  @Test func `the source's revision wins over the outbox's number`() throws {
    let batch = try OutboxBatch([Self.row(1, "a", "active", revision: "77")])
    #expect(batch.additions.map(\.revision) == [77])
  }

  @Test func `an end is a time with its zone or seconds, and is left where the source has no column for it`() throws {
    let batch = try OutboxBatch([
      Self.row(1, "a", "active"), Self.row(2, "b", "active", end: ""), Self.row(3, "c", "active", end: "infinity"),
      Self.row(4, "d", "active", end: "2026-11-20T12:00:00.5+00:00"), Self.row(5, "e", "active", end: "1795176001"),
      Self.row(6, "f", "active", end: "2026-11-20T12:00:00"),
    ])
    #expect(batch.additions.map(\.expiry) == [.keep, .remove, .remove, .set(1_795_176_001), .set(1_795_176_001)])
    #expect(batch.problems.count == 1 && batch.problems[0].contains("timestamptz"))
  }

  @Test func `a row that can't be read is told without its values, and taken out`() throws {
    var bad = Self.row(1, "a", "actve")
    var batch = try OutboxBatch([bad, Self.row(2, "b", "active")])
    #expect(batch.problems.count == 1 && batch.problems[0].contains("expected the state"))
    #expect(!batch.problems[0].contains("actve"))
    #expect(batch.additions.count == 1 && batch.numbers == [1, 2])
    bad[2] = "sk_secret"
    batch = try OutboxBatch([bad])
    #expect(batch.problems.count == 1 && !batch.problems[0].contains("sk_secret"))
    bad[2] = "invalid"
    #expect(try OutboxBatch([bad]).problems[0].contains("is empty, longer than 512 characters, or not visible ASCII"))
  }

  @Test func `a truncated table is noticed`() throws {
    let truncation: [String?] = ["false", "1", "", nil, nil, nil, nil, "true", "session"]
    let batch = try OutboxBatch([truncation, Self.row(2, "b", "active")])
    #expect(batch.wasTruncated && batch.problems.isEmpty && batch.numbers == [1, 2] && batch.additions.count == 1)
  }

  @Test func `a full batch isn't the whole outbox`() throws {
    let rows = (0..<FollowedTable.keyLimit).map { Self.row($0, "k\($0)", "active") }
    #expect(try !OutboxBatch(rows).isComplete)
    #expect(try OutboxBatch(Array(rows.dropLast())).isComplete)
  }
}
