import ArgumentParser
import CommandSupport
import SourceFollower

/// The options that describe the keys in a database.
struct FollowColumns: ParsableArguments {
  private static let table = Setting<String>(
    "table", "The table of the keys: NAME or SCHEMA.NAME.", shown: "table")
  @Option(help: Self.table.help) var table: String?

  private static let keyIDColumn = Setting<String>(
    "key-id-column",
    "With --table: the column with the key's SHA-256 in hexadecimal digits. Instead of a column, give any SQL expression of "
      + "the table's columns, such as encode(digest, 'hex').", shown: "column")
  @Option(help: Self.keyIDColumn.help) var keyIDColumn: String?

  private static let keyColumn = Setting<String>(
    "key-column",
    "With --table: the column with the key itself. PostgreSQL hashes the key, so the key never leaves the database.",
    shown: "column")
  @Option(help: Self.keyColumn.help) var keyColumn: String?

  private static let accountColumn = Setting<String>(
    "account-column", "With --table: the column with the account.", shown: "column")
  @Option(help: Self.accountColumn.help) var accountColumn: String?

  private static let state = Setting<String>(
    "state", "With --table: an SQL expression with the value active, suspended or revoked.", shown: "expression",
    as: "each row is an active key")
  @Option(help: Self.state.help) var state: String?

  private static let revisionColumn = Setting<String>(
    "revision-column", "With --table: the column with a number that grows with each change of a row.",
    shown: "column", as: "the change's number in the outbox")
  @Option(help: Self.revisionColumn.help) var revisionColumn: String?

  private static let expiresAtColumn = Setting<String>(
    "expires-at-column",
    "With --table: the column with the time at which the key ends, as a timestamptz or in seconds since 1970. A null means no expiry.",
    shown: "column", as: "no expiry is changed")
  @Option(help: Self.expiresAtColumn.help) var expiresAtColumn: String?

  private static let outbox = Setting<String>(
    "outbox",
    "With --table: the name of the outbox, in the table's schema. An outbox is tied to one store: to follow one table into "
      + "two stores, use two outboxes.",
    shown: "name", default: "sluice_key_changes")
  @Option(help: Self.outbox.help) var outbox: String?

  private static let query = Setting<String>(
    "query",
    "A query that returns all keys, with columns named key or key_id, account, and optionally state, revision and "
      + "expires_at. The query is run each --every.", shown: "query")
  @Option(help: Self.query.help) var query: String?

  enum Choice {
    case table(FollowedTable)
    case query(FollowedQuery)
  }

  /// Whether neither a table nor a query is given.
  var isEmpty: Bool { table == nil && query == nil }

  func resolve(_ settings: Settings) throws -> Choice {
    let table = try settings.optional(Self.table, given: table)
    switch (table, try settings.optional(Self.query, given: query)) {
    case (nil, let query?): return .query(FollowedQuery(query))
    case (let table?, nil): return .table(try followed(table, settings))
    default: throw ValidationError("expected either --table or --query")
    }
  }

  private func followed(_ table: String, _ settings: Settings) throws -> FollowedTable {
    let key: FollowedTable.KeyColumn
    let secret = try settings.optional(Self.keyColumn, given: keyColumn)
    switch (try settings.optional(Self.keyIDColumn, given: keyIDColumn), secret) {
    case (let column?, nil): key = .id(column)
    case (nil, let column?): key = .secret(column)
    default: throw ValidationError("expected either --key-id-column or --key-column")
    }
    guard let account = try settings.optional(Self.accountColumn, given: accountColumn) else {
      throw ValidationError("--table needs --account-column")
    }
    let outbox = try settings.value(Self.outbox, given: outbox)
    let state = try settings.optional(Self.state, given: state)
    let revision = try settings.optional(Self.revisionColumn, given: revisionColumn)
    let expiry = try settings.optional(Self.expiresAtColumn, given: expiresAtColumn)
    do throws(FollowedTable.Invalid) {
      return try FollowedTable(
        table: table, outbox: outbox, key: key, account: account, state: state, revision: revision, expiry: expiry)
    } catch {
      throw ValidationError(error.description)
    }
  }
}
