// Where a Redis is, and as whom to speak to it. What it looks like as a URL is in RedisURL.

/// The address of a Redis: of one server, of the primary that Sentinels name, or of a cluster.
public struct RedisEndpoint: Sendable, Equatable {
  public enum Address: Sendable, Equatable {
    case tcp(host: String, port: Int)
    case unix(path: String)
    /// Whichever server these sentinels call the primary.
    case sentinels(SentinelGroup)
    /// Whichever node of a cluster has the slot that a connection is for. These are asked who that is; never empty.
    case cluster(seeds: [RedisHost])
  }

  public var address: Address
  /// TLS, with the server's certificate and name checked. The only way to have less is to use none. Sentinels and the nodes of a
  /// cluster are all spoken to alike.
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

  /// One server of those that this address may lead to, spoken to as all of them are.
  func server(_ host: RedisHost) -> RedisEndpoint {
    var server = self
    server.address = .tcp(host: host.name, port: host.port)
    return server
  }

  /// One of the sentinels.
  func sentinel(_ host: RedisHost, of group: SentinelGroup) -> RedisEndpoint {
    RedisEndpoint(
      address: .tcp(host: host.name, port: host.port), usesTLS: usesTLS, certificateAuthority: certificateAuthority,
      user: group.user, password: group.password)
  }
}

extension RedisEndpoint: CustomStringConvertible {
  /// The address without its password; for people, not for parsing.
  public var description: String {
    let credentials = password == nil ? "" : "\(user):***@"
    let scheme = usesTLS ? "rediss" : "redis"
    let path = database == 0 ? "" : "/\(database)"
    switch address {
    case .tcp(let host, let port):
      return "\(scheme)://\(credentials)\(RedisHost(host, port: port))\(path)"
    case .unix(let path):
      return "unix://\(credentials)\(path)\(database == 0 ? "" : "?db=\(database)")"
    case .sentinels(let group):
      return "\(scheme)+sentinel://\(credentials)\(Self.list(group.hosts))/\(group.primary)\(path)"
    case .cluster(let seeds):
      return "\(scheme)+cluster://\(credentials)\(Self.list(seeds))"
    }
  }

  private static func list(_ hosts: [RedisHost]) -> String { hosts.map { "\($0)" }.joined(separator: ",") }
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
