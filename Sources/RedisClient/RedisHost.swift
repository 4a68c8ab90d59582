/// A server's address, as Sentinels and cluster nodes name each other and their servers.
public struct RedisHost: Sendable, Hashable, CustomStringConvertible {
  /// A name, an IPv4 address, or an IPv6 address without brackets.
  public let name: String
  /// From 1 to 65535.
  public let port: Int

  public init(_ name: String, port: Int) {
    self.name = name
    self.port = port
  }

  /// As in a URL.
  public var description: String { name.contains(":") ? "[\(name)]:\(port)" : "\(name):\(port)" }
}

extension RedisHost {
  /// A malformed host or port, with the expected form as text.
  struct Misspelled: Error {
    let expectation: String
  }

  /// Splits `name`, `name:port`, `[IPv6]` or `[IPv6]:port`.
  static func parts(of text: Substring) throws(Misspelled) -> (name: String, port: Int?) {
    let host: Substring
    let port: Substring
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else {
        throw Misspelled(expectation: "expected ] after the IPv6 address")
      }
      host = text[..<end].dropFirst()
      port = text[end...].dropFirst()
      guard host.contains(":"), host.allSatisfy({ $0.isASCII && ($0.isHexDigit || $0 == ":" || $0 == ".") }) else {
        throw Misspelled(expectation: "expected an IPv6 address between [ and ]")
      }
    } else {
      host = text.prefix { $0 != ":" }
      port = text.dropFirst(host.count)
      guard !host.isEmpty, host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) }) else {
        throw Misspelled(
          expectation: "expected a host of letters, digits, hyphens and dots, or an IPv6 address in brackets")
      }
    }
    if port.isEmpty { return (String(host), nil) }
    guard port.hasPrefix(":"), let number = number(port.dropFirst()), (1...65535).contains(number) else {
      throw Misspelled(expectation: "expected a port from 1 to 65535 after the host's colon")
    }
    return (String(host), number)
  }

  /// Digits alone: Swift's own parsing accepts a sign too.
  static func number(_ text: Substring) -> Int? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
  }
}

/// The Sentinels that watch over one primary and its replicas.
public struct SentinelGroup: Sendable, Equatable {
  /// Never empty.
  public var hosts: [RedisHost]
  /// The Sentinels' name of the primary.
  public var primary: String
  /// The user at the Sentinels themselves; empty for the default user.
  public var user: String
  /// Nil if the Sentinels need none.
  public var password: Secret?
  /// As ``RedisEndpoint/credentialsFile``, for the Sentinels.
  public var credentialsFile: String?

  public init(
    hosts: [RedisHost], primary: String, user: String = "", password: Secret? = nil, credentialsFile: String? = nil
  ) {
    precondition(!hosts.isEmpty, "expected at least one host to ask for the primary")
    self.hosts = hosts
    self.primary = primary
    self.user = user
    self.password = password
    self.credentialsFile = credentialsFile
  }
}
