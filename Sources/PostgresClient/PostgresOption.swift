// A connection URI of libpq. Sluice doesn't parse such a URI itself: libpq accepts URIs that other parsers reject
// (several hosts, percent-encoded sockets), and only libpq knows its options.

internal import CPostgres

/// A keyword of libpq with its value. The value may be the password.
public struct PostgresOption: Sendable, Equatable {
  public let keyword: String
  public let value: String

  public init(keyword: String, value: String) {
    self.keyword = keyword
    self.value = value
  }

  /// The keywords and values from libpq's parser, without those that aren't given.
  /// - Returns: Nil if libpq rejects the URI. libpq's message isn't returned: it may contain the invalid text, which may
  ///   be a part of the password.
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

  /// An address without its password, for messages.
  /// - Parameter uri: The part of the URI before the question mark.
  public static func withoutPassword(_ uri: some StringProtocol, scheme: String) -> String {
    let rest = uri.dropFirst(scheme.count)
    // The user's name ends at the first colon. A password that wasn't encoded may contain an @.
    let end = rest.firstIndex(of: "/") ?? rest.endIndex
    let authority = rest[..<end]
    guard let at = authority.lastIndex(of: "@") else { return "postgres://\(rest)" }
    let user = authority[..<at].prefix { $0 != ":" }
    return "postgres://\(user)@\(authority[authority.index(after: at)...])\(rest[end...])"
  }
}
