/// Where a server listens: how sentinels and cluster nodes name each other and their servers.
public struct RedisHost: Sendable, Hashable, CustomStringConvertible {
  /// A name, an IPv4 address, or an IPv6 address without brackets.
  public let name: String
  /// From 1 to 65535.
  public let port: Int

  public init(_ name: String, port: Int) {
    self.name = name
    self.port = port
  }

  /// As it stands in a URL.
  public var description: String { name.contains(":") ? "[\(name)]:\(port)" : "\(name):\(port)" }
}

/// The Sentinels that watch over one primary and its replicas.
public struct SentinelGroup: Sendable, Equatable {
  /// Never empty.
  public var hosts: [RedisHost]
  /// What they call the primary.
  public var primary: String
  /// As whom the sentinels themselves are spoken to; empty for the default user.
  public var user: String
  /// Nil where the sentinels ask for none.
  public var password: Secret?
  /// As ``RedisEndpoint/credentialsFile``, for the sentinels.
  public var credentialsFile: String?

  public init(
    hosts: [RedisHost], primary: String, user: String = "", password: Secret? = nil, credentialsFile: String? = nil
  ) {
    precondition(!hosts.isEmpty, "somebody has to be asked for the primary")
    self.hosts = hosts
    self.primary = primary
    self.user = user
    self.password = password
    self.credentialsFile = credentialsFile
  }
}
