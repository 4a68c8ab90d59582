// A connection URI as libpq reads it. It is never parsed by hand: libpq accepts URIs that other parsers reject (several
// hosts, percent-encoded sockets), and only libpq knows what its options mean.

internal import CPostgres

/// An option of libpq. It may be the password.
public struct PostgresOption: Sendable, Equatable {
  public let keyword: String
  public let value: String

  public init(keyword: String, value: String) {
    self.keyword = keyword
    self.value = value
  }

  /// What libpq reads in a URI: its keywords and their values, without those that aren't given.
  /// - Returns: Nil if libpq can't read it. Its message isn't returned, because it may contain a part of the password.
  public static func parse(_ uri: String) -> [PostgresOption]? {
    var words: UnsafeMutablePointer<CChar>?
    guard let parsed = PQconninfoParse(uri, &words) else {
      PQfreemem(words)
      return nil
    }
    defer { PQconninfoFree(parsed) }
    var found: [PostgresOption] = []
    var place = parsed
    while let keyword = place.pointee.keyword {
      if let value = place.pointee.val {
        found.append(PostgresOption(keyword: String(cString: keyword), value: String(cString: value)))
      }
      place += 1
    }
    return found
  }

  /// An address without its password, for people.
  /// - Parameter uri: Before any question mark.
  public static func withoutPassword(_ uri: some StringProtocol, scheme: String) -> String {
    let rest = uri.dropFirst(scheme.count)
    // The user's name ends at the first colon, and a password that wasn't encoded may have an @ in it.
    let end = rest.firstIndex(of: "/") ?? rest.endIndex
    let authority = rest[..<end]
    guard let at = authority.lastIndex(of: "@") else { return "postgres://\(rest)" }
    let user = authority[..<at].prefix { $0 != ":" }
    return "postgres://\(user)@\(authority[authority.index(after: at)...])\(rest[end...])"
  }
}
