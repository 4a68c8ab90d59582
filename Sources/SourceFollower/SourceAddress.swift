// The address of the customers' database. An address that libpq can't read is rejected at the start. The password is
// never shown.

import PostgresClient

/// A PostgreSQL address as an operator writes it: `postgres://user:password@host:port/database?sslmode=…`.
public struct SourceAddress: Sendable, Equatable, CustomStringConvertible {
  let options: [PostgresOption]
  /// The address without its password and parameters.
  public let description: String

  /// The form of an address, to follow the word "expected".
  public static let expectation = "postgres://user:password@host:port/database?sslmode=…"

  /// Nil if libpq can't read the address.
  public init?(_ text: String) {
    guard let scheme = ["postgres://", "postgresql://"].first(where: text.hasPrefix),
      let options = PostgresOption.parse(text)
    else { return nil }
    self.options = options
    description = PostgresOption.withoutPassword(text.prefix { $0 != "?" }, scheme: scheme)
  }
}
