// The address of the customers' database. What libpq can't read is refused at the start, and a password is never shown.

import PostgresClient

/// A PostgreSQL address as an operator writes it: `postgres://user:password@host:port/database?sslmode=…`.
public struct SourceAddress: Sendable, Equatable, CustomStringConvertible {
  let options: [PostgresOption]
  /// Without the password and the parameters.
  public let description: String

  /// The form of an address, to follow the word "expected".
  public static let expectation = "postgres://user:password@host:port/database?sslmode=…"

  /// Nil unless libpq can read it.
  public init?(_ text: String) {
    guard let scheme = ["postgres://", "postgresql://"].first(where: text.hasPrefix),
      let options = PostgresOption.parse(text)
    else { return nil }
    self.options = options
    description = PostgresOption.withoutPassword(text.prefix { $0 != "?" }, scheme: scheme)
  }
}
