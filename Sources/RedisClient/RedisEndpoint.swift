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
  /// With TLS: PEM files of the certificate chain and the private key that this side shows, where the server asks for one. Read at each connection, as is the
  /// file of authorities.
  public var clientCertificate: ClientCertificate?
  /// With TLS: the name that the server's certificate must have, where that isn't the host's.
  public var serverName: String?
  /// Read at each connection, instead of ``user`` and ``password``: a line with the password, or one with the user and one with the password. So they can be
  /// changed without a restart.
  public var credentialsFile: String?
  /// Empty for Redis's default user.
  public var user: String
  /// Nil where the server asks for none.
  public var password: Secret?
  /// The database's number, from 0.
  public var database: Int
  /// With Sentinels and clusters: where the servers that these name are reached.
  public var addressMap = AddressMap.none

  public init(
    address: Address, usesTLS: Bool = false, certificateAuthority: String? = nil,
    clientCertificate: ClientCertificate? = nil, serverName: String? = nil, credentialsFile: String? = nil,
    user: String = "", password: Secret? = nil, database: Int = 0
  ) {
    self.address = address
    self.usesTLS = usesTLS
    self.certificateAuthority = certificateAuthority
    self.clientCertificate = clientCertificate
    self.serverName = serverName
    self.credentialsFile = credentialsFile
    self.user = user
    self.password = password
    self.database = database
  }

  /// Whether it leads to a cluster, where what has two slots may be at two nodes.
  public var isCluster: Bool { if case .cluster = address { true } else { false } }

  /// One server of those that this address may lead to, spoken to as all of them are.
  /// - Parameter host: As it is reached from here.
  func server(at host: RedisHost) -> RedisEndpoint {
    var server = self
    server.address = .tcp(host: host.name, port: host.port)
    return server
  }

  /// The same.
  /// - Parameter host: As sentinels and cluster nodes name it.
  func server(announcedAs host: RedisHost) -> RedisEndpoint { server(at: addressMap[host]) }

  /// One of the sentinels.
  func sentinel(_ host: RedisHost, of group: SentinelGroup) -> RedisEndpoint {
    RedisEndpoint(
      address: .tcp(host: host.name, port: host.port), usesTLS: usesTLS, certificateAuthority: certificateAuthority,
      clientCertificate: clientCertificate, serverName: serverName, credentialsFile: group.credentialsFile,
      user: group.user, password: group.password)
  }

  /// As whom to speak to the server: from the file where there is one, read now.
  /// - Throws: ``UnreadableCredentials``.
  func credentials() throws(UnreadableCredentials) -> (user: String, password: Secret?) {
    guard let credentialsFile else { return (user, password) }
    let bytes: [UInt8]
    do throws(UnreadableFile) { bytes = try SmallFile.read(credentialsFile) } catch {
      throw UnreadableCredentials("can't read \(credentialsFile) (credentials=): \(error)")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw UnreadableCredentials("expected text in \(credentialsFile) (credentials=), got bytes that aren't UTF-8")
    }
    // Also those of another system.
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    if lines.last == "" { lines.removeLast() }
    guard (1...2).contains(lines.count), let password = lines.last, !password.isEmpty else {
      throw UnreadableCredentials(
        "expected a line with the password in \(credentialsFile), or one with the user and one with the password, but it has "
          + (lines.isEmpty ? "none" : lines.count > 2 ? "\(lines.count) lines" : "an empty password"))
    }
    return (lines.count == 2 ? String(lines[0]) : "", Secret(String(password)))
  }
}

/// PEM files of what one side of TLS shows of itself.
public struct ClientCertificate: Sendable, Equatable {
  public var chain: String
  public var privateKey: String

  public init(chain: String, privateKey: String) {
    self.chain = chain
    self.privateKey = privateKey
  }
}

/// The file that should say as whom to speak to Redis doesn't; the description has nothing of its contents.
struct UnreadableCredentials: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
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
