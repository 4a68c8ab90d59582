// Addresses of Redis as URLs. They are parsed strictly, because with a misunderstood address a node could mirror the
// wrong store.
//
// No message contains the invalid text: in an invalid address, any part may be the password.

internal import Bytes

extension RedisEndpoint {
  /// The address as a URL:
  ///
  /// - `redis://[user:password@]host[:port][/database]`
  /// - `unix://[user:password@]/path[?db=N]`
  /// - `redis+sentinel://[user:password@]host[:port][,host[:port]…]/primary[/database]`, optionally with
  ///   `?sentinel-user=…&sentinel-password=…`: the server that these sentinels name as the primary of that name. The
  ///   user and password before the hosts are the server's.
  /// - `redis+cluster://[user:password@]host[:port][,host[:port]…]`: some nodes of a cluster, which are asked for the
  ///   others.
  ///
  /// After the question mark all forms accept `credentials=/path`: ``credentialsFile`` (and with Sentinel
  /// `sentinel-credentials=/path`).
  ///
  /// Forms that begin with `rediss` instead of `redis` use TLS, for sentinels and servers, and accept `cafile=/path`,
  /// `certfile=/path` with `keyfile=/path`, and `servername=name` after the question mark: ``certificateAuthority``,
  /// ``clientCertificate``, ``serverName``. Characters with a meaning in URLs are percent-encoded in users, passwords,
  /// paths and the primary's name. The default port is 6379, for sentinels 26379. The default database is 0.
  /// - Throws: ``InvalidEndpoint``, which names the invalid part, but never contains the password.
  public init(_ url: String) throws(InvalidEndpoint) {
    guard let schemeEnd = url.firstRange(of: "://") else {
      throw InvalidEndpoint("expected \(Self.schemes), but the address has no scheme")
    }
    let scheme = url[..<schemeEnd.lowerBound]
    let usesTLS = scheme.hasPrefix("rediss")
    let parts = try Parts(url[schemeEnd.upperBound...])
    switch scheme {
    case "unix": self = try Self.unix(parts)
    case "redis", "rediss": self = try Self.network(parts, usesTLS: usesTLS)
    case "redis+sentinel", "rediss+sentinel": self = try Self.sentinels(parts, usesTLS: usesTLS)
    case "redis+cluster", "rediss+cluster": self = try Self.cluster(parts, usesTLS: usesTLS)
    default: throw InvalidEndpoint("expected \(Self.schemes), but the scheme is another")
    }
  }

  private static let schemes = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"

  /// The part before the question mark, and the parameters after it.
  private struct Parts {
    let before: Substring
    private var values: [Substring: Substring] = [:]

    init(_ rest: Substring) throws(InvalidEndpoint) {
      guard !rest.contains("#") else { throw InvalidEndpoint("expected no #; in a password it is written %23") }
      let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
      before = parts[0]
      guard parts.count == 2 else { return }
      for pair in parts[1].split(separator: "&", omittingEmptySubsequences: false) {
        let pair = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard pair.count == 2, values.updateValue(pair[1], forKey: pair[0]) == nil else {
          throw InvalidEndpoint("expected name=value after the question mark, each name once")
        }
      }
    }

    /// Removes and returns a parameter's value; nil if it wasn't given.
    mutating func value(_ name: Substring) -> Substring? { values.removeValue(forKey: name) }

    /// Removes and returns a parameter that is a file's path.
    mutating func file(_ name: Substring) throws(InvalidEndpoint) -> String? {
      guard let value = value(name) else { return nil }
      let path = try decoded(value, part: String(name))
      guard path.hasPrefix("/") else { throw InvalidEndpoint("expected an absolute path after \(name)=") }
      return path
    }

    /// Removes and returns the parameters for TLS.
    mutating func tls(_ usesTLS: Bool) throws(InvalidEndpoint) -> TLSParts {
      let given = ["cafile", "certfile", "keyfile", "servername"].first { values[$0] != nil }
      if let given, !usesTLS {
        throw InvalidEndpoint("expected \(given)= only in an address that begins with rediss")
      }
      var parts = TLSParts(authority: try file("cafile"))
      switch (try file("certfile"), try file("keyfile")) {
      case (let chain?, let key?): parts.certificate = ClientCertificate(chain: chain, privateKey: key)
      case (nil, nil): break
      default: throw InvalidEndpoint("expected certfile= and keyfile= together")
      }
      if let name = value("servername") {
        parts.serverName = try decoded(name, part: "servername")
        guard let name = parts.serverName, Self.isDNSName(name) else {
          throw InvalidEndpoint("expected a DNS name after servername=, such as redis.example")
        }
      }
      return parts
    }

    /// False for IP addresses: in certificates these are separate from names, and TLS sends names only.
    private static func isDNSName(_ text: String) -> Bool {
      (1...253).contains(text.utf8.count)
        && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) }
        && text.contains { $0.isLetter }
    }

    /// Call it when all known parameters have been removed.
    /// - Parameter known: The valid parameters, as text.
    func expectNoMore(_ known: String) throws(InvalidEndpoint) {
      guard values.isEmpty else { throw InvalidEndpoint("expected \(known) after the question mark") }
    }
  }

  private struct TLSParts {
    var authority: String?
    var certificate: ClientCertificate?
    var serverName: String?
  }

  // MARK: Schemes

  private static func unix(_ parts: Parts) throws(InvalidEndpoint) -> RedisEndpoint {
    var parts = parts
    let before = parts.before
    guard let slash = before.firstIndex(of: "/"), slash == before.startIndex || before[..<slash].hasSuffix("@") else {
      throw InvalidEndpoint("expected unix:///path, with an absolute path to the socket")
    }
    let (user, password) = try credentials(before[..<slash].dropLast())
    let path = try decoded(before[slash...], part: "path")
    // The maximum of sockaddr_un on Linux, without the terminating zero.
    guard (2...107).contains(path.utf8.count) else {
      throw InvalidEndpoint("expected a path to a socket of at most 107 bytes, but it has \(path.utf8.count)")
    }
    let database = try parts.value("db").map { value throws(InvalidEndpoint) in try Self.database(value) } ?? 0
    let credentialsFile = try parts.file("credentials")
    try expectOne(password, credentialsFile)
    try parts.expectNoMore("db=N or credentials=/path")
    return RedisEndpoint(
      address: .unix(path: path), credentialsFile: credentialsFile, user: user, password: password, database: database)
  }

  private static func network(_ parts: Parts, usesTLS: Bool) throws(InvalidEndpoint) -> RedisEndpoint {
    var parts = parts
    let authority = try Authority(&parts, usesTLS: usesTLS)
    guard authority.hosts.count == 1 else {
      throw InvalidEndpoint("expected one host, got several; Sentinels are redis+sentinel://")
    }
    let host = try host(authority.hosts[0], standardPort: 6379)
    try parts.expectNoMore(others)
    return authority.endpoint(
      .tcp(host: host.name, port: host.port), database: authority.path.isEmpty ? 0 : try database(authority.path))
  }

  private static func sentinels(_ parts: Parts, usesTLS: Bool) throws(InvalidEndpoint) -> RedisEndpoint {
    var parts = parts
    let authority = try Authority(&parts, usesTLS: usesTLS)
    let path = authority.path.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let name = path.first, !name.isEmpty else {
      throw InvalidEndpoint("expected a slash and what the sentinels call the primary after the hosts")
    }
    let user = try parts.value("sentinel-user").map { value throws(InvalidEndpoint) in
      try decoded(value, part: "sentinel-user")
    }
    let password = try parts.value("sentinel-password").map { value throws(InvalidEndpoint) in
      Secret(try decoded(value, part: "sentinel-password"))
    }
    guard user == nil || password != nil else {
      throw InvalidEndpoint("expected sentinel-password= with sentinel-user=")
    }
    // Probably an empty variable in the script that built the address.
    if user?.isEmpty ?? false || password?.revealed.isEmpty ?? false {
      throw InvalidEndpoint(
        "expected a value for sentinel-user= and sentinel-password=, got nothing; leave out what isn't needed")
    }
    let sentinelCredentials = try parts.file("sentinel-credentials")
    try expectOne(password, sentinelCredentials)
    try parts.expectNoMore("sentinel-user=, sentinel-password=, sentinel-credentials= or \(others)")
    let group = SentinelGroup(
      hosts: try hosts(authority.hosts, standardPort: 26379), primary: try decoded(name, part: "primary's name"),
      user: user ?? "", password: password, credentialsFile: sentinelCredentials)
    return authority.endpoint(
      .sentinels(group), database: path.count == 2 && !path[1].isEmpty ? try database(path[1]) : 0)
  }

  private static func cluster(_ parts: Parts, usesTLS: Bool) throws(InvalidEndpoint) -> RedisEndpoint {
    var parts = parts
    let authority = try Authority(&parts, usesTLS: usesTLS)
    guard authority.path.isEmpty || authority.path == "0" else {
      throw InvalidEndpoint("expected nothing after the hosts: a cluster has one database")
    }
    try parts.expectNoMore(others)
    return authority.endpoint(.cluster(seeds: try hosts(authority.hosts, standardPort: 6379)), database: 0)
  }

  // MARK: Parts

  /// The common parts of all addresses over TCP: credentials, hosts and path.
  private struct Authority {
    private var user = ""
    private var password: Secret?
    private let usesTLS: Bool
    private let tls: TLSParts
    private let credentialsFile: String?
    /// As they were written, separated by commas.
    let hosts: [Substring]
    /// After the first slash.
    let path: Substring

    init(_ parts: inout Parts, usesTLS: Bool) throws(InvalidEndpoint) {
      let slash = parts.before.firstIndex(of: "/") ?? parts.before.endIndex
      var authority = parts.before[..<slash]
      // Only before the first slash, so that no part of a mistyped password is mistaken for the host.
      if let at = authority.lastIndex(of: "@") {
        (user, password) = try credentials(authority[..<at])
        authority = authority[authority.index(after: at)...]
      }
      hosts = authority.split(separator: ",", omittingEmptySubsequences: false)
      path = parts.before[slash...].dropFirst()
      self.usesTLS = usesTLS
      tls = try parts.tls(usesTLS)
      credentialsFile = try parts.file("credentials")
      try expectOne(password, credentialsFile)
    }

    func endpoint(_ address: Address, database: Int) -> RedisEndpoint {
      RedisEndpoint(
        address: address, usesTLS: usesTLS, certificateAuthority: tls.authority, clientCertificate: tls.certificate,
        serverName: tls.serverName, credentialsFile: credentialsFile, user: user, password: password, database: database
      )
    }
  }

  private static let others = "credentials=, or with rediss cafile=, certfile=, keyfile= and servername="

  private static func expectOne(_ password: Secret?, _ file: String?) throws(InvalidEndpoint) {
    guard password == nil || file == nil else { throw InvalidEndpoint("expected a password or credentials=, not both") }
  }

  /// - Parameter text: The text before the @.
  private static func credentials(_ text: Substring) throws(InvalidEndpoint) -> (user: String, password: Secret?) {
    if text.isEmpty { return ("", nil) }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw InvalidEndpoint("expected user:password@ or :password@, but there is no colon before the @")
    }
    // Probably an unset variable.
    guard !parts[1].isEmpty else {
      throw InvalidEndpoint("expected a password after the colon, but it is empty; without one write redis://host")
    }
    return (try decoded(parts[0], part: "user"), Secret(try decoded(parts[1], part: "password")))
  }

  private static func hosts(_ texts: [Substring], standardPort: Int) throws(InvalidEndpoint) -> [RedisHost] {
    var hosts: [RedisHost] = []
    for text in texts {
      let host = try host(text, standardPort: standardPort)
      guard !hosts.contains(host) else { throw InvalidEndpoint("expected each host once") }
      hosts.append(host)
    }
    return hosts
  }

  private static func host(_ text: Substring, standardPort: Int) throws(InvalidEndpoint) -> RedisHost {
    let parts: (name: String, port: Int?)
    do { parts = try RedisHost.parts(of: text) } catch { throw InvalidEndpoint(error.expectation) }
    return RedisHost(parts.name, port: parts.port ?? standardPort)
  }

  private static func database(_ text: Substring) throws(InvalidEndpoint) -> Int {
    guard let number = RedisHost.number(text), number <= 16383 else {
      throw InvalidEndpoint("expected a database's number, from 0 to 16383")
    }
    return number
  }

  /// Decodes percent-encoding.
  private static func decoded(_ text: Substring, part: String) throws(InvalidEndpoint) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let encoded = UInt8(hexDigits: rest.prefix(2)) else {
        throw InvalidEndpoint("expected two hexadecimal digits after % in the \(part)")
      }
      rest = rest.dropFirst(2)
      bytes.append(encoded)
    }
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
      throw InvalidEndpoint("expected UTF-8 without zero bytes in the \(part)")
    }
    return text
  }
}
