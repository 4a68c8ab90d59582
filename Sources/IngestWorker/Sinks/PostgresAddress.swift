// A connection URI of libpq, with one parameter of the sink, `table`. This file takes that parameter out of the URI;
// libpq parses the rest.

import PostgresClient

/// A PostgreSQL address and a table, as an operator writes it:
/// `postgres://user:password@host:port/database?sslmode=…&table=…`.
public struct PostgresAddress: Sendable, Equatable, CustomStringConvertible {
  /// The keywords and values from libpq's parser, without those that aren't given. They include the password.
  let options: [PostgresOption]
  /// The table, with its schema if there is one; each part is quoted: `"ingest"."payloads"`.
  let table: String
  public let description: String

  /// The form of an address, to follow the word "expected".
  public static let expectation = "postgres://user:password@host:port/database?sslmode=…&table=…"

  static let schemes = ["postgres://", "postgresql://"]

  init(_ text: String) throws(InvalidSinkAddress) {
    guard let scheme = Self.schemes.first(where: text.hasPrefix) else {
      throw InvalidSinkAddress("expected \(Self.expectation)")
    }
    let rest = text.dropFirst(scheme.count)
    let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    var table = "payloads"
    var others: [Substring] = []
    for option in parts.count > 1 ? parts[1].split(separator: "&") : [] {
      if option.hasPrefix("table=") { table = String(option.dropFirst(6)) } else { others.append(option) }
    }
    self.table = try Self.quoted(table)
    options = try Self.options(of: scheme + parts[0] + (others.isEmpty ? "" : "?" + others.joined(separator: "&")))
    description = PostgresOption.withoutPassword(scheme + parts[0], scheme: scheme) + "?table=\(table)"
  }

  /// Accepts letters, digits and _, as in nearly all tables' names, and a schema before a dot.
  private static func quoted(_ table: String) throws(InvalidSinkAddress) -> String {
    let parts = table.split(separator: ".", omittingEmptySubsequences: false)
    let fits = parts.allSatisfy { part in
      (1...63).contains(part.utf8.count)
        && part.utf8.allSatisfy {
          UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 | 0x20 || 0x30...0x39 ~= $0 || $0 == 0x5F
        }
    }
    guard (1...2).contains(parts.count), fits else {
      throw InvalidSinkAddress(
        "expected table=NAME or table=SCHEMA.NAME, of letters, digits and _, got \"\(table.prefix(100))\"")
    }
    return parts.map { "\"\($0)\"" }.joined(separator: ".")
  }

  private static func options(of text: String) throws(InvalidSinkAddress) -> [PostgresOption] {
    guard let options = PostgresOption.parse(text) else {
      throw InvalidSinkAddress(
        "expected \(Self.expectation), with libpq options only and valid percent-encoding")
    }
    return options
  }
}
