import Testing

@testable import SourceFollower

@Suite struct FollowedTableTests {
  private func table(
    _ name: String = "api_keys", outbox: String = "sluice_key_changes", state: String? = nil,
    key: FollowedTable.KeyColumn = .id("key_id")
  ) throws -> FollowedTable {
    try FollowedTable(table: name, outbox: outbox, key: key, account: "account", state: state, revision: nil)
  }

  @Test(arguments: ["", "a.b.c", "a b", "a;drop", "a\"b", "a.", String(repeating: "a", count: 51)])
  func `a table's name that isn't plain is refused`(name: String) throws {
    let error = #expect(throws: FollowedTable.Invalid.self) { try table(name) }
    #expect(error?.description.contains("--table: expected NAME or SCHEMA.NAME") == true)
    #expect(throws: FollowedTable.Invalid.self) { try table(outbox: name) }
  }

  @Test func `an outbox is in its table's schema`() throws {
    #expect(try table("App.Keys").outbox == "\"App\".\"sluice_key_changes\"")
    #expect(try table("App.Keys").tie == "\"App\".\"sluice_key_changes_store\"")
    #expect(try table().outbox == "\"sluice_key_changes\"")
  }

  @Test func `other columns make another trigger`() throws {
    let prints = Set([
      try table().fingerprint, try table(state: "'active'").fingerprint, try table(key: .secret("key_id")).fingerprint,
      try table("other").fingerprint, try table(outbox: "other").fingerprint,
    ])
    #expect(prints.count == 5)
    let table = try table()
    #expect(table.objection(to: [table.fingerprint, "2", "x", "x"]) == nil)
    let rows: [[String?]] = [
      [nil, "0", nil, nil], [table.fingerprint, "1", "x", "x"], [table.fingerprint, "2", nil, "x"],
      [table.fingerprint, "2", "x", nil], [],
    ]
    for row in rows {
      #expect(table.objection(to: row)?.contains("--install") == true)
    }
    #expect(table.objection(to: ["Sluice, 2, 00", "2", "x", nil])?.contains("other columns") == true)
  }

  @Test func `a query's columns are named like a list's, and a misspelt one is refused`() throws {
    let query = FollowedQuery("SELECT * FROM keys; ")
    #expect(try query.list(columns: ["key_id", "account"]).contains("FROM (SELECT * FROM keys\n"))
    #expect(try query.list(columns: ["account", "key", "state", "revision"]).contains("sha256"))
    #expect(try query.list(columns: ["key_id", "account", "expires_at"]).contains("to_jsonb(listed.expires_at)"))
    for columns in [
      ["key_id"], ["account"], ["key", "key_id", "account"], ["key", "account", "status"], ["key", "key", "account"],
    ] {
      #expect(throws: FollowedTable.Invalid.self) { try query.list(columns: columns) }
    }
  }

  @Test func `an address never shows its password`() throws {
    let address = try #require(SourceAddress("postgres://me:p%40ss@host:5432/app?sslmode=require"))
    #expect(address.description == "postgres://me@host:5432/app")
    #expect(SourceAddress("postgres://host/app?nonsense=1") == nil)
    #expect(SourceAddress("mysql://host/app") == nil)
  }
}
