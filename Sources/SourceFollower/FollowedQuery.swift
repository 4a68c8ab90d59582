// The statement for a source that is read by a query of the operator's: its columns are named as those of a list.

import KeyStore

/// A query that returns all keys.
public struct FollowedQuery: Sendable, Hashable {
  private let text: String

  public init(_ text: String) { self.text = text }

  /// Returns no row, but the columns' names.
  var outline: String { "SELECT * FROM (\(trimmed)\n) AS listed LIMIT 0" }

  /// A semicolon at its end would end ours.
  private var trimmed: String {
    var rest = text[...]
    while let last = rest.last, last == ";" || last.isWhitespace { rest = rest.dropLast() }
    return String(rest)
  }

  private static let known = ["key", "key_id", "account", "state", "revision"]

  /// The list, with columns as ``FollowedTable/list`` has them.
  /// - Parameter columns: The query's.
  /// - Throws: What is wrong with the columns.
  func list(columns: [String]) throws(FollowedTable.Invalid) -> String {
    // A misspelt state would make a suspended key active.
    guard columns.allSatisfy(Self.known.contains), Set(columns).count == columns.count, columns.contains("account"),
      columns.contains("key") != columns.contains("key_id")
    else {
      throw FollowedTable.Invalid(
        description: "--query: expected the columns key or key_id, account and optionally state and revision, got "
          + columns.prefix(10).joined(separator: ", "))
    }
    let id = columns.contains("key") ? FollowedTable.hash(of: "listed.key") : "lower(listed.key_id::text)"
    let key = columns.contains("key") ? "key" : "key_id"
    return """
      SELECT \(id), listed.account::text, \(columns.contains("state") ? "listed.state::text" : "'active'::text"),
        \(columns.contains("revision") ? "listed.revision::bigint::text" : "NULL::text")
      FROM (\(trimmed)
      ) AS listed WHERE listed.\(key) IS NOT NULL
      """
  }
}
