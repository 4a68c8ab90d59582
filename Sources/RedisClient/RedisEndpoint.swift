// The address of a Redis, and the credentials for it. Its form as a URL is in RedisURL.

/// The address of a Redis: of a single server, of the primary that Sentinels name, or of a cluster.
public struct RedisEndpoint: Sendable, Equatable {
  public enum Address: Sendable, Equatable {
    case tcp(host: String, port: Int)
    case unix(path: String)
    /// The server that these sentinels name as the primary.
    case sentinels(SentinelGroup)
    /// The node of a cluster that has the slot of the connection. The seeds are asked for that node; never empty.
    case cluster(seeds: [RedisHost])
  }

  public var address: Address
  /// Whether to use TLS. The server's certificate and name are always checked. It applies to the servers, and also to
  /// Sentinels and all cluster nodes.
  public var usesTLS: Bool
  /// With TLS: a PEM file of the authorities to trust instead of the system's. It is in the address and not in an
  /// environment variable, because two stores may have two authorities.
  public var certificateAuthority: String?
  /// With TLS: PEM files of the client's certificate chain and private key, for servers that ask for a certificate.
  /// They are read at each connection, as is the file of authorities.
  public var clientCertificate: ClientCertificate?
  /// With TLS: the name that the server's certificate must have, if it isn't the host's.
  public var serverName: String?
  /// A file that is read at each connection, instead of ``user`` and ``password``: one line with the password, or two
  /// lines with user and password. So the password can be changed without a restart.
  public var credentialsFile: String?
  /// Empty for Redis's default user.
  public var user: String
  /// Nil if the server needs none.
  public var password: Secret?
  /// The database's number, from 0.
  public var database: Int
  /// With Sentinels and clusters: the reachable addresses of the servers that these announce.
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

  /// Whether the address leads to a cluster, where keys of two slots may be at two nodes.
  public var isCluster: Bool { if case .cluster = address { true } else { false } }

  /// The endpoint of one server of this address, with the same TLS and credentials.
  /// - Parameter host: The reachable address.
  func server(at host: RedisHost) -> RedisEndpoint {
    var server = self
    server.address = .tcp(host: host.name, port: host.port)
    return server
  }

  /// The same.
  /// - Parameter host: As Sentinels and cluster nodes announce it.
  func server(announcedAs host: RedisHost) -> RedisEndpoint { server(at: addressMap[host]) }

  /// The endpoint of one of the sentinels.
  func sentinel(_ host: RedisHost, of group: SentinelGroup) -> RedisEndpoint {
    RedisEndpoint(
      address: .tcp(host: host.name, port: host.port), usesTLS: usesTLS, certificateAuthority: certificateAuthority,
      clientCertificate: clientCertificate, serverName: serverName, credentialsFile: group.credentialsFile,
      user: group.user, password: group.password)
  }

  /// The credentials; from the file if there is one, which is read now.
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
    // Any system's line ends are accepted.
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

/// The PEM files of a client certificate.
public struct ClientCertificate: Sendable, Equatable {
  public var chain: String
  public var privateKey: String

  public init(chain: String, privateKey: String) {
    self.chain = chain
    self.privateKey = privateKey
  }
}

/// The credentials file is unreadable or malformed. The description contains none of its content.
struct UnreadableCredentials: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

extension RedisEndpoint: CustomStringConvertible {
  /// The address without its password, as text for people. It isn't meant to be parsed.
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

/// An invalid address, with the expected form.
public struct InvalidEndpoint: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = "not a Redis address: \(description)" }
}

/// A text that must not be printed: every description of it is `***`.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// The text itself, for code that must send it.
  public let revealed: String

  public init(_ text: String) { revealed = text }

  public var description: String { "***" }
  public var debugDescription: String { "***" }
  public var customMirror: Mirror { Mirror(self, children: []) }
}
