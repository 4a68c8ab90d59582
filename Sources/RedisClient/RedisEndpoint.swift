// Where a Redis is, and as whom to speak to it: one URL, parsed strictly, because a half-understood address is how a node
// ends up mirroring the wrong store.

/// The address of one Redis, as a URL:
///
/// - `redis://[user:password@]host[:port][/database]`
/// - `rediss://[user:password@]host[:port][/database][?cafile=/path]` for TLS
/// - `unix://[user:password@]/path[?db=N]`
///
/// Characters that mean something in a URL are percent-encoded in the user, the password and the paths. The port is 6379
/// unless one is given, the database 0. `cafile` is ``certificateAuthority``.
public struct RedisEndpoint: Sendable, Equatable {
  public enum Address: Sendable, Equatable {
    case tcp(host: String, port: Int)
    case unix(path: String)
  }

  public var address: Address
  /// TLS, with the server's certificate and name checked. The only way to have less is to use none.
  public var usesTLS: Bool
  /// With TLS: a PEM file of the authorities to trust instead of the system's. In the address rather than in an environment
  /// variable, because whom to trust is part of where the store is, and two stores may have two authorities.
  public var certificateAuthority: String?
  /// Empty for Redis's default user.
  public var user: String
  /// Nil where the server asks for none.
  public var password: Secret?
  /// The database's number, from 0.
  public var database: Int

  public init(
    address: Address, usesTLS: Bool = false, certificateAuthority: String? = nil, user: String = "",
    password: Secret? = nil, database: Int = 0
  ) {
    self.address = address
    self.usesTLS = usesTLS
    self.certificateAuthority = certificateAuthority
    self.user = user
    self.password = password
    self.database = database
  }

  /// - Throws: ``InvalidEndpoint``, which names the part that isn't understood, never the password.
  public init(_ url: String) throws(InvalidEndpoint) {
    guard let schemeEnd = url.firstRange(of: "://") else {
      throw InvalidEndpoint("expected redis://, rediss:// or unix://, but the address has no scheme")
    }
    let scheme = url[..<schemeEnd.lowerBound]
    let rest = url[schemeEnd.upperBound...]
    switch scheme {
    case "unix": self = try Self.unix(rest)
    case "redis", "rediss": self = try Self.network(rest, usesTLS: scheme == "rediss")
    default:
      throw InvalidEndpoint("expected redis://, rediss:// or unix://, but the scheme is another")
    }
  }

  private static func unix(_ rest: Substring) throws(InvalidEndpoint) -> RedisEndpoint {
    let (before, query) = try split(rest)
    guard let slash = before.firstIndex(of: "/"), slash == before.startIndex || before[..<slash].hasSuffix("@") else {
      throw InvalidEndpoint("expected unix:///path, with an absolute path to the socket")
    }
    let (user, password) = try credentials(before[..<slash].dropLast())
    let path = try decoded(before[slash...], part: "path")
    // What sockaddr_un holds on Linux, with the zero that ends it.
    guard (2...107).contains(path.utf8.count) else {
      throw InvalidEndpoint("expected a path to a socket of at most 107 bytes, but it has \(path.utf8.count)")
    }
    var database = 0
    if let query {
      guard query.name == "db" else { throw InvalidEndpoint("expected db=N after the question mark of unix://") }
      database = try Self.database(query.value)
    }
    return RedisEndpoint(address: .unix(path: path), user: user, password: password, database: database)
  }

  private static func network(_ rest: Substring, usesTLS: Bool) throws(InvalidEndpoint) -> RedisEndpoint {
    let (before, query) = try split(rest)
    let slash = before.firstIndex(of: "/") ?? before.endIndex
    var authority = before[..<slash]
    var user = ""
    var password: Secret?
    // Only before the first slash, so that a mistyped password can't turn a part of itself into the host.
    if let at = authority.lastIndex(of: "@") {
      (user, password) = try credentials(authority[..<at])
      authority = authority[authority.index(after: at)...]
    }
    let (host, port) = try hostAndPort(authority)
    let database = before[slash...].dropFirst()
    var certificateAuthority: String?
    if let query {
      guard query.name == "cafile", usesTLS else {
        throw InvalidEndpoint("expected cafile=/path after the question mark, and only with rediss://")
      }
      certificateAuthority = try decoded(query.value, part: "cafile")
      guard certificateAuthority?.hasPrefix("/") == true else {
        throw InvalidEndpoint("expected an absolute path after cafile=")
      }
    }
    return RedisEndpoint(
      address: .tcp(host: host, port: port), usesTLS: usesTLS, certificateAuthority: certificateAuthority, user: user,
      password: password, database: database.isEmpty ? 0 : try Self.database(database))
  }

  // None of the messages shows what came in its place: in an address that isn't understood, anything may be the password.

  /// What comes before the question mark, and the one named value after it.
  private static func split(
    _ rest: Substring
  ) throws(InvalidEndpoint) -> (before: Substring, query: (name: Substring, value: Substring)?) {
    guard !rest.contains("#") else { throw InvalidEndpoint("expected no #; in a password it is written %23") }
    let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return (rest, nil) }
    let pair = parts[1].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard pair.count == 2, !parts[1].contains("&") else {
      throw InvalidEndpoint("expected one name=value after the question mark")
    }
    return (parts[0], (pair[0], pair[1]))
  }

  /// - Parameter text: What comes before the @, without it.
  private static func credentials(_ text: Substring) throws(InvalidEndpoint) -> (user: String, password: Secret?) {
    if text.isEmpty { return ("", nil) }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw InvalidEndpoint("expected user:password@ or :password@, but there is no colon before the @")
    }
    return (try decoded(parts[0], part: "user"), Secret(try decoded(parts[1], part: "password")))
  }

  private static func hostAndPort(_ authority: Substring) throws(InvalidEndpoint) -> (host: String, port: Int) {
    let host: Substring
    let port: Substring
    if authority.hasPrefix("[") {
      guard let end = authority.firstIndex(of: "]") else {
        throw InvalidEndpoint("expected ] after the IPv6 address")
      }
      host = authority[..<end].dropFirst()
      port = authority[end...].dropFirst()
      guard host.contains(":"), host.allSatisfy({ $0.isASCII && ($0.isHexDigit || $0 == ":" || $0 == ".") }) else {
        throw InvalidEndpoint("expected an IPv6 address between [ and ]")
      }
    } else {
      host = authority.prefix { $0 != ":" }
      port = authority.dropFirst(host.count)
      guard !host.isEmpty, host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) }) else {
        throw InvalidEndpoint("expected a host of letters, digits, hyphens and dots, or an IPv6 address in brackets")
      }
    }
    if port.isEmpty { return (String(host), 6379) }
    guard port.hasPrefix(":"), let number = number(port.dropFirst()), (1...65535).contains(number) else {
      throw InvalidEndpoint("expected a port from 1 to 65535 after the host's colon")
    }
    return (String(host), number)
  }

  private static func database(_ text: Substring) throws(InvalidEndpoint) -> Int {
    guard let number = number(text), number <= 16383 else {
      throw InvalidEndpoint("expected a database's number, from 0 to 16383")
    }
    return number
  }

  /// Digits alone: Swift's own parsing takes a sign too.
  private static func number(_ text: Substring) -> Int? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
  }

  /// Undoes percent-encoding.
  private static func decoded(_ text: Substring, part: String) throws(InvalidEndpoint) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      let digits = rest.prefix(2).compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
      guard digits.count == 2 else { throw InvalidEndpoint("expected two hexadecimal digits after % in the \(part)") }
      rest = rest.dropFirst(2)
      bytes.append(UInt8(digits[0] << 4 | digits[1]))
    }
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
      throw InvalidEndpoint("expected UTF-8 without zero bytes in the \(part)")
    }
    return text
  }
}

extension RedisEndpoint: CustomStringConvertible {
  /// The address without its password; for people, not for parsing.
  public var description: String {
    let credentials = password == nil ? "" : "\(user):***@"
    switch address {
    case .tcp(let host, let port):
      let host = host.contains(":") ? "[\(host)]" : host
      return "\(usesTLS ? "rediss" : "redis")://\(credentials)\(host):\(port)\(database == 0 ? "" : "/\(database)")"
    case .unix(let path):
      return "unix://\(credentials)\(path)\(database == 0 ? "" : "?db=\(database)")"
    }
  }
}

/// An address that isn't understood, with what was expected of it.
public struct InvalidEndpoint: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = "not a Redis address: \(description)" }
}

/// A text that must not be printed: every description of it is `***`.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// The text itself, for whoever must send it.
  public let revealed: String

  public init(_ text: String) { revealed = text }

  public var description: String { "***" }
  public var debugDescription: String { "***" }
  public var customMirror: Mirror { Mirror(self, children: []) }
}
