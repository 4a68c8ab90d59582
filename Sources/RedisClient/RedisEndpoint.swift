// Where a Redis is, and as whom to speak to it: one URL, parsed strictly, because a half-understood address is how a node
// ends up mirroring the wrong store.

/// The address of one Redis: `redis://[user:password@]host[:port][/db]`, `rediss://…[?cafile=/path]` for TLS, or
/// `unix:///path[?db=N]`. The parts are percent-encoded, as in any URL.
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
      throw InvalidEndpoint("expected redis://, rediss:// or unix://, but the scheme is \(scheme)://")
    }
  }

  private static func unix(_ rest: Substring) throws(InvalidEndpoint) -> RedisEndpoint {
    let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard let path = parts.first, path.hasPrefix("/"), path.count > 1 else {
      throw InvalidEndpoint("expected unix:///path, with an absolute path to the socket")
    }
    var database = 0
    if parts.count == 2 {
      guard parts[1].hasPrefix("db=") else {
        throw InvalidEndpoint("expected ?db=N after the socket's path, but ?\(parts[1]) came")
      }
      database = try Self.database(parts[1].dropFirst(3))
    }
    return RedisEndpoint(address: .unix(path: try decoded(path, part: "path")), database: database)
  }

  private static func network(_ rest: Substring, usesTLS: Bool) throws(InvalidEndpoint) -> RedisEndpoint {
    var rest = rest
    var user = ""
    var password: Secret?
    if let at = rest.lastIndex(of: "@") {
      let credentials = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard credentials.count == 2 else {
        throw InvalidEndpoint("expected user:password@ (or :password@) before the host, but there is no colon")
      }
      user = try decoded(credentials[0], part: "user")
      password = Secret(try decoded(credentials[1], part: "password"))
      rest = rest[rest.index(after: at)...]
    }
    var database = 0
    if let slash = rest.firstIndex(of: "/") {
      let text = rest[rest.index(after: slash)...]
      if !text.isEmpty { database = try Self.database(text) }
      rest = rest[..<slash]
    }
    let host: Substring
    var port: Substring?
    if rest.hasPrefix("[") {
      guard let end = rest.firstIndex(of: "]") else {
        throw InvalidEndpoint("expected ] after the IPv6 address")
      }
      host = rest[rest.index(after: rest.startIndex)..<end]
      let after = rest[rest.index(after: end)...]
      guard after.isEmpty || after.hasPrefix(":") else {
        throw InvalidEndpoint("expected :port after ], but \(after) came")
      }
      port = after.isEmpty ? nil : after.dropFirst()
    } else {
      let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      host = parts.first ?? ""
      port = parts.count == 2 ? parts[1] : nil
    }
    guard !host.isEmpty else { throw InvalidEndpoint("expected a host, but there is none") }
    var number = 6379
    if let port {
      guard let parsed = Int(port), (1...65535).contains(parsed) else {
        throw InvalidEndpoint("expected a port from 1 to 65535, but \"\(port)\" came")
      }
      number = parsed
    }
    return RedisEndpoint(
      address: .tcp(host: String(host), port: number), usesTLS: usesTLS, user: user, password: password,
      database: database)
  }

  private static func database(_ text: Substring) throws(InvalidEndpoint) -> Int {
    guard let number = Int(text), (0...16383).contains(number) else {
      throw InvalidEndpoint("expected a database number, but \"\(text)\" came")
    }
    return number
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
      guard let high = rest.popFirst(), let low = rest.popFirst(),
        let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16)
      else { throw InvalidEndpoint("expected two hexadecimal digits after % in the \(part)") }
      bytes.append(value)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw InvalidEndpoint("expected UTF-8 in the \(part)")
    }
    return text
  }
}

extension RedisEndpoint: CustomStringConvertible {
  /// The address without its password.
  public var description: String {
    let credentials = password == nil ? "" : "\(user):***@"
    switch address {
    case .tcp(let host, let port):
      let host = host.contains(":") ? "[\(host)]" : host
      return "\(usesTLS ? "rediss" : "redis")://\(credentials)\(host):\(port)\(database == 0 ? "" : "/\(database)")"
    case .unix(let path):
      return "unix://\(path)\(database == 0 ? "" : "?db=\(database)")"
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
