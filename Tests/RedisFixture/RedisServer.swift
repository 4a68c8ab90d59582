// A real redis-server for tests, in a temporary folder, on a Unix socket and a TCP port of 127.0.0.1. Nothing of Redis is
// imitated in our tests: what it does at its memory limit, after kill -9, or when stopped in mid-command is what
// they are about.

public import Foundation
public import Hiredis
import NIOPosix
public import RedisClient
import Synchronization

/// How a test's Redis is set up.
public struct RedisServerOptions: Sendable {
  public enum AppendOnly: String, Sendable {
    case off, everysec, always
  }

  /// What survives a kill.
  public var appendOnly = RedisBuild.appendsByDefault ? AppendOnly.everysec : .off
  /// The default user's password (`requirepass`).
  public var password: String?
  /// Further users, each as an ACL line without the word `user`: `alice on >secret ~* &* +@all`.
  public var users: [String] = []
  /// The memory limit in bytes; 0 is none.
  public var maxMemory = 0
  public var evictionPolicy = "noeviction"
  /// Whether there is a TLS port too: then it is Debian's server.
  public var tls = false
  /// Which program it is.
  public var build = RedisBuild.underTest
  /// A clock of its own, that the test can move.
  public var clock: ServerClock?
  /// The server whose certificate authority this one's certificate is from; nil for one of its own.
  public var authority: RedisServer?
  /// Whom the server's certificate is for.
  public var certificateNames = "DNS:localhost,IP:127.0.0.1"
  /// The program to start.
  func program() throws -> String { try (tls ? RedisBuild.redis7 : build).program() }

  /// Anything else, as words on the command line: `["--save", "60 1"]`.
  public var arguments: [String] = []

  public init() {}

  public init(_ change: (inout RedisServerOptions) -> Void) { change(&self) }
}

/// A running redis-server. Killed with this object, and with the test process.
public final class RedisServer: Sendable {
  private struct State {
    var process: ChildProcess?
    var port = 0
    var tlsPort = 0
  }

  /// Its working folder, where its files are.
  public let folder: TemporaryFolder
  public let options: RedisServerOptions
  private let state = Mutex(State())

  private init(options: RedisServerOptions) throws {
    self.options = options
    folder = try TemporaryFolder()
  }

  deinit {
    state.withLock { $0.process }?.signal(SIGKILL)
    folder.remove()
  }

  /// Starts a server and waits until it answers.
  public static func start(_ options: RedisServerOptions = RedisServerOptions()) async throws -> RedisServer {
    let server = try RedisServer(options: options)
    if options.tls { try await server.makeCertificates() }
    // No port is looked up beforehand: between looking and binding another could take it. The server itself tries.
    for _ in 1...20 {
      // Below the range that Linux gives to outgoing connections.
      let port = Int.random(in: 10_000..<32_000)
      server.state.withLock { state in
        state.port = port
        state.tlsPort = port + 1
      }
      if try await server.launch() { return server }
    }
    throw CannotStart(description: "twenty ports of 127.0.0.1 were all taken")
  }

  // MARK: Where it is

  /// The address of its Unix socket, as the default user.
  public var endpoint: RedisEndpoint {
    endpoint(.unix(path: folder.path("redis.sock")))
  }

  /// By TCP, as the default user.
  public var tcpEndpoint: RedisEndpoint {
    endpoint(.tcp(host: "127.0.0.1", port: port))
  }

  /// The address of its TLS port, as the default user. Only with ``RedisServerOptions/tls``.
  public var tlsEndpoint: RedisEndpoint {
    precondition(options.tls, "this server was started without TLS")
    var endpoint = endpoint(.tcp(host: "127.0.0.1", port: tlsPort))
    endpoint.usesTLS = true
    endpoint.certificateAuthority = folder.path("ca.crt")
    return endpoint
  }

  private func endpoint(_ address: RedisEndpoint.Address) -> RedisEndpoint {
    RedisEndpoint(address: address, password: options.password.map { Secret($0) })
  }

  /// Sends one command, by a connection of its own.
  /// - Throws: ``RedisClient/RedisError``, or the error that the server answered.
  @discardableResult
  public func run(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisReply {
    let connection = try await RedisConnection.connected(to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await connection.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }

  /// Its current role: `master` or `slave`.
  public func role() async throws -> String { try await run("ROLE").array()[0].string() }

  /// The TCP port.
  public var port: Int { state.withLock { $0.port } }

  /// The port for TLS; nothing listens there without ``RedisServerOptions/tls``.
  public var tlsPort: Int { state.withLock { $0.tlsPort } }

  /// The running server's process, or nil when it was stopped.
  public var pid: pid_t? { state.withLock { $0.process?.pid } }

  /// The server's log since it was started last.
  public var log: String { state.withLock { $0.process }?.standardOutput.text ?? "" }

  // MARK: What can happen to it

  /// Sets its clock to the true time plus an offset, and waits until it uses that. Only with
  /// ``RedisServerOptions/clock``.
  public func setClock(ahead offset: Duration) async throws {
    guard let clock = options.clock else { preconditionFailure("this server has no clock of its own") }
    try clock.set(ahead: offset)
    let connection = try await RedisConnection.connected(to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    // Some servers look at the clock once for several commands.
    try await eventually("the server has the new time") {
      let time = try await connection.execute(RedisCommand("TIME")).orThrow().array()
      guard let seconds = Double(try time[0].string()), let micros = Double(try time[1].string()) else { return false }
      return abs(seconds + micros / 1e6 - Date.now.timeIntervalSince1970 - offset / .seconds(1)) < 0.1
    }
  }

  /// Ends it as a power cut would, and waits until it is gone.
  public func kill9() async throws { try await end(with: SIGKILL) }

  /// Ends it in good order, and waits until it is gone.
  public func stop() async throws { try await end(with: SIGTERM) }

  /// Holds it (SIGSTOP): connections stay open, the kernel goes on to take bytes, and nothing answers.
  public func pause() async throws {
    let process = try running()
    process.signal(SIGSTOP)
    try await eventually("redis-server is held") {
      let stat = try String(contentsOfFile: "/proc/\(process.pid)/stat", encoding: .utf8)
      return stat.contains(") T ")
    }
  }

  /// Lets it go on after ``pause()``.
  public func resume() throws { try running().signal(SIGCONT) }

  /// Starts it again on the same files, socket and ports; ends it first (SIGKILL) where it runs.
  public func restart() async throws {
    if state.withLock({ $0.process }) != nil { try await kill9() }
    try await eventually("redis-server gets its ports again") { try await launch() }
  }

  private func running() throws -> ChildProcess {
    guard let process = state.withLock({ $0.process }) else {
      throw CannotStart(description: "this redis-server was stopped")
    }
    return process
  }

  private func end(with signal: Int32) async throws {
    let process = try running()
    process.signal(signal)
    // A held process takes no other signal than SIGKILL before it goes on.
    process.signal(SIGCONT)
    _ = try await process.waitForExit(within: .seconds(10))
    state.withLock { $0.process = nil }
  }

  // MARK: Starting

  /// False where a port was taken.
  private func launch() async throws -> Bool {
    try configuration.write(toFile: folder.path("redis.conf"), atomically: true, encoding: .utf8)
    let process = try await ChildProcess.start(
      try options.program(), [folder.path("redis.conf")] + options.arguments,
      environment: ProcessInfo.processInfo.environment.merging(options.clock?.environment ?? [:]) { $1 })
    let socket = folder.path("redis.sock")
    try await eventually("redis-server answers a PING") {
      if process.status != nil { return true }
      return try await NIOThreadPool.singleton.runIfActive { Self.answersPing(atSocket: socket) }
    }
    if let status = process.status {
      // Its end can be noticed before its last words have been read.
      try await eventually("its output is read to the end") { process.standardOutput.isComplete }
      let log = process.standardOutput.text
      if log.contains("Address already in use") { return false }
      throw CannotStart(description: "redis-server \(status)\n\(log)\n\(process.standardError.text)")
    }
    state.withLock { $0.process = process }
    return true
  }

  private var configuration: String {
    let (port, tlsPort) = state.withLock { ($0.port, $0.tlsPort) }
    var lines = [
      "bind 127.0.0.1", "port \(port)", "unixsocket \(folder.path("redis.sock"))", "dir \(folder.path)",
      "daemonize no", "databases 16", "save \"\"",
      "appendonly \(options.appendOnly == .off ? "no" : "yes")",
      "appendfsync \(options.appendOnly == .off ? "everysec" : options.appendOnly.rawValue)",
      "maxmemory \(options.maxMemory)", "maxmemory-policy \(options.evictionPolicy)",
    ]
    if options.build != .redis6 { lines.append("enable-debug-command yes") }
    if let password = options.password { lines.append("requirepass \(Self.quoted(password))") }
    lines += options.users.map { "user \($0)" }
    if options.tls {
      lines += [
        "tls-port \(tlsPort)", "tls-auth-clients no", "tls-cert-file \(folder.path("server.crt"))",
        "tls-key-file \(folder.path("server.key"))", "tls-ca-cert-file \(folder.path("ca.crt"))",
      ]
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func quoted(_ text: String) -> String {
    let escaped = text.utf8.map { byte in
      let digits = String(byte, radix: 16)
      return "\\x" + (digits.count == 1 ? "0" + digits : digits)
    }
    return "\"\(escaped.joined())\""
  }

  /// A certificate authority for this server alone, and the server's certificate by it.
  private func makeCertificates() async throws {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    if let authority = options.authority {
      for file in ["ca.key", "ca.crt"] {
        try FileManager.default.copyItem(atPath: authority.folder.path(file), toPath: folder.path(file))
      }
    } else {
      try await ChildProcess.run(
        "openssl",
        ["req", "-x509"] + key + [
          "-subj", "/CN=Sluice test authority", "-keyout", folder.path("ca.key"), "-out", folder.path("ca.crt"),
        ])
    }
    try await ChildProcess.run(
      "openssl",
      ["req", "-x509"] + key + [
        "-CA", folder.path("ca.crt"), "-CAkey", folder.path("ca.key"), "-subj", "/CN=Sluice test server",
        "-addext", "subjectAltName=\(options.certificateNames)", "-addext", "basicConstraints=critical,CA:FALSE",
        "-keyout", folder.path("server.key"), "-out", folder.path("server.crt"),
      ])
  }

  /// Asks by a plain socket, not by our client, which is among the things under test. An error other than LOADING (such as
  /// NOAUTH) is an answer too.
  private static func answersPing(atSocket path: String) -> Bool {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard connected == 0 else { return false }
    let ping = Array("PING\r\n".utf8)
    guard send(descriptor, ping, ping.count, Int32(MSG_NOSIGNAL)) == ping.count else { return false }
    var answer = [UInt8](repeating: 0, count: 256)
    let count = recv(descriptor, &answer, answer.count, 0)
    let text = String(decoding: answer.prefix(max(count, 0)), as: UTF8.self)
    return !text.isEmpty && !text.hasPrefix("-LOADING")
  }
}

/// Runs the body with a Redis of its own, which is gone afterwards. When the body throws, the server dies with its object.
public func withRedis<Value>(
  _ options: RedisServerOptions = RedisServerOptions(), _ body: (RedisServer) async throws -> Value
) async throws -> Value {
  let server = try await RedisServer.start(options)
  let value = try await body(server)
  if server.pid != nil { try await server.kill9() }
  server.folder.remove()
  return value
}
