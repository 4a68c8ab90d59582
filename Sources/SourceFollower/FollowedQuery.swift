// The statement for a source that an operator's query reads. The query's columns have the names of a list's columns.

import KeyStore

/// A query that returns all keys.
public struct FollowedQuery: Sendable, Hashable {
  private let text: String

  public init(_ text: String) { self.text = text }

  /// A statement that returns the columns' names and no rows.
  var outline: String { "SELECT * FROM (\(trimmed)\n) AS listed LIMIT 0" }

  /// The query without semicolons at its end: it becomes a part of another statement, which a semicolon would end.
  private var trimmed: String {
    var rest = text[...]
    while let last = rest.last, last == ";" || last.isWhitespace { rest = rest.dropLast() }
    return String(rest)
  }

  private static let known = ["key", "key_id", "account", "state", "revision", "expires_at"]

  /// The statement for the list. Its columns are those of ``FollowedTable/list``.
  /// - Parameter columns: The query's columns.
  /// - Throws: The reason why these columns can't be used.
  func list(columns: [String]) throws(FollowedTable.Invalid) -> String {
    // Unknown columns aren't ignored: with a misspelt column `state`, suspended keys would be active.
    guard columns.allSatisfy(Self.known.contains), Set(columns).count == columns.count, columns.contains("account"),
      columns.contains("key") != columns.contains("key_id")
    else {
      throw FollowedTable.Invalid(
        description:
          "--query: expected the columns key or key_id, account and optionally state, revision and expires_at, got "
          + columns.prefix(10).joined(separator: ", "))
    }
    let id = columns.contains("key") ? FollowedTable.hash(of: "listed.key") : "lower(listed.key_id::text)"
    let key = columns.contains("key") ? "key" : "key_id"
    return """
      SELECT \(id), listed.account::text, \(columns.contains("state") ? "listed.state::text" : "'active'::text"),
        \(columns.contains("revision") ? "listed.revision::bigint::text" : "NULL::text"),
        \(columns.contains("expires_at") ? FollowedTable.end("listed.expires_at") : "NULL::text")
      FROM (\(trimmed)
      ) AS listed WHERE listed.\(key) IS NOT NULL
      """
  }
}
