// A Sluice of real processes for one test: a Redis of its own, the published commands, and HTTP clients. A test
// observes it only as an operator or a client would.

import AsyncHTTPClient
import Foundation
import GRDB
import Hiredis
import NIOCore
import NIOHTTP1
import NIOPosix
import RedisClient
import RedisFixture

/// Real processes around one Redis.
final class Deployment: Sendable {
  let redis: RedisServer
  let folder: TemporaryFolder
  private let settings: [String: String]

  /// - Parameter password: Of Redis's default user.
  convenience init(appendOnly: RedisServerOptions.AppendOnly? = nil, password: String? = nil) async throws {
    let options = RedisServerOptions {
      if let appendOnly { $0.appendOnly = appendOnly }
      $0.password = password
    }
    try self.init(redis: try await RedisServer.start(options))
  }

  /// Around a Redis that is there already.
  /// - Parameter settings: More environment of all commands.
  init(redis: RedisServer, settings: [String: String] = [:]) throws {
    self.redis = redis
    self.settings = settings
    folder = try TemporaryFolder()
  }

  deinit { folder.remove() }

  private var environment: [String: String] {
    ["SLUICE_REDIS": address(password: redis.options.password)].merging(settings) { _, given in given }
  }

  /// Redis's address with this password.
  func address(password: String?) -> String {
    guard let password else { return "\(redis.tcpEndpoint)" }
    let encoded = password.utf8.map { String(format: "%%%02X", $0) }.joined()
    return "redis://:\(encoded)@127.0.0.1:\(redis.port)"
  }

  var database: String { folder.path("payloads.sqlite") }

  // MARK: Processes

  /// - Parameters:
  ///   - addresses: Where it listens; nil for any free ports.
  ///   - asNobody: Where the tests run as root, the node is started as the user nobody.
  ///   - hosts: A file that the node has in place of `/etc/hosts`.
  func startNode(
    _ name: String, _ arguments: [String] = [], at addresses: Node.Addresses? = nil, asNobody: Bool = false,
    hosts: String? = nil
  ) async throws -> Node {
    let addresses = addresses ?? .free
    let arguments =
      [
        "--name", name, "--listen", "\(addresses.push)", "--admin", "\(addresses.admin)", "--agent-check",
        "\(addresses.agent)", "--grace", "0s",
      ] + arguments
    let process: ServiceProcess
    let program = ServiceProcess.folder.appendingPathComponent("ingest-node").path
    if let hosts {
      process = try await ServiceProcess.start(
        "/usr/bin/unshare",
        (getuid() == 0 ? [] : ["--map-root-user"]) + [
          "--mount", "/bin/bash", "-c", #"mount --bind "$0" /etc/hosts && exec "$@""#, hosts, program,
        ] + arguments, environment: environment)
    } else if asNobody, getuid() == 0 {
      process = try await ServiceProcess.start(
        "/usr/bin/setpriv",
        ["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL", program] + arguments,
        environment: environment)
    } else {
      process = try await ServiceProcess.start("ingest-node", arguments, environment: environment)
    }
    let listening = Node.Addresses(
      push: try await Self.address(in: process.waitForLine(containing: "listening for pushes")),
      admin: try await Self.address(in: process.waitForLine(containing: "listening for operators")),
      agent: try await Self.address(in: process.waitForLine(containing: "listening for agent checks")))
    return Node(name: name, process: process, addresses: listening)
  }

  private static func address(in line: String) throws -> String {
    guard let address = line.firstMatch(of: /address=(\S+)/)?.1 else {
      throw NeverHappened(description: "no address in: \(line)")
    }
    return String(address)
  }

  func startWorker(_ name: String, _ arguments: [String] = []) async throws -> ServiceProcess {
    try await ServiceProcess.start(
      "ingest-worker", ["--name", name, "--sink", "sqlite:\(database)"] + arguments, environment: environment)
  }

  /// Starts a command, and doesn't wait for its end.
  func start(_ command: String, _ arguments: [String]) async throws -> ServiceProcess {
    try await ServiceProcess.start(command, arguments, environment: environment)
  }

  /// Runs a command to its end.
  @discardableResult
  func run(
    _ command: String, _ arguments: [String], expecting status: ExitStatus? = .exited(0),
    within limit: Duration = .seconds(60)
  ) async throws -> ServiceProcess {
    let process = try await ServiceProcess.start(command, arguments, environment: environment)
    let ended = try await process.waitForExit(within: limit)
    try await process.waitForOutputs()
    if let status, ended != status {
      throw NeverHappened(
        description: "\(command) \(arguments.first ?? "") ended with \(ended) instead of \(status)\n\(process.outputs)")
    }
    return process
  }

  /// Sends Redis one command, behind everybody's back.
  func redis(_ command: String, _ arguments: String...) async throws {
    let connection = try await RedisConnection.connected(
      to: redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    _ = try await connection.execute(RedisCommand(command, arguments: arguments)).orThrow()
  }

  /// Cuts all connections that a node has to Redis.
  func cutConnections(of node: String) async throws {
    let connection = try await RedisConnection.connected(
      to: redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    let list = try await connection.execute(RedisCommand("CLIENT", "LIST")).bytes()
    for line in String(decoding: list, as: UTF8.self).split(separator: "\n") where line.contains(" name=\(node)-") {
      guard let id = line.firstMatch(of: /^id=(\d+)/)?.1 else { continue }
      _ = try await connection.execute(RedisCommand("CLIENT", "KILL", "ID", String(id))).orThrow()
    }
  }

  /// Imports this number of keys of this number of accounts, and seals the store.
  func publish(keys count: Int, accounts: Int = 100, expecting status: ExitStatus? = .exited(0)) async throws {
    let list = folder.path("keys-\(count).csv")
    let lines = ["key,account"] + (0..<count).map { "\(Self.key($0)),account-\($0 % accounts)" }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: list))
    try await run("key-publisher", ["import", list, "--seal"], expecting: status)
  }

  static func key(_ number: Int) -> String { "sk_test_\(number)" }

  // MARK: What was stored

  /// Dead letters in the queue's first shard.
  func deadLetters() async throws -> Int64 { try await redis.run("XLEN", "sluice:{queue-0}:dead").integer() }

  /// One payload in the sink.
  struct Row: Sendable {
    var id: String
    var account: String
    var path: String
    var body: Data
  }

  /// The ids and bodies in the sink, in no order; nothing if the sink isn't there yet.
  func stored() throws -> [(id: String, body: Data)] { try rows().map { ($0.id, $0.body) } }

  /// The sink's content, in arbitrary order; empty if the sink doesn't exist yet.
  func rows() throws -> [Row] {
    guard FileManager.default.fileExists(atPath: database) else { return [] }
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(5)
    let queue = try DatabaseQueue(path: database, configuration: configuration)
    return try queue.read { db in
      guard try db.tableExists("payloads") else { return [] }
      return try GRDB.Row.fetchAll(db, sql: "SELECT id, account, path, body FROM payloads").map {
        Row(id: $0["id"], account: $0["account"], path: $0["path"], body: $0["body"])
      }
    }
  }
}

/// One running node.
struct Node: Sendable {
  let name: String
  let process: ServiceProcess
  let addresses: Addresses

  /// Where it listens, each as `host:port`.
  struct Addresses: Sendable {
    /// For pushes.
    var push: String
    /// For operators.
    var admin: String
    /// For HAProxy's agent-check.
    var agent: String

    /// Any free ports of 127.0.0.1.
    static let free = Addresses(push: "127.0.0.1:0", admin: "127.0.0.1:0", agent: "127.0.0.1:0")
  }

  /// The port of an address.
  static func port(_ address: String) -> Substring {
    address[address.index(after: address.lastIndex(of: ":") ?? address.startIndex)...]
  }

  var push: String { addresses.push }
  var admin: String { addresses.admin }

  struct Answer: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: String

    /// The value of a string member of the body.
    func member(_ name: String) -> String? {
      guard let object = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any] else { return nil }
      return object[name] as? String
    }
  }

  /// Pushes a payload.
  func push(
    _ body: [UInt8] = Array("{}".utf8), key: String, path: String = "/v1/events", headers: HTTPHeaders = [:]
  ) async throws -> Answer {
    var request = HTTPClientRequest(url: "http://\(push)\(path)")
    request.method = .POST
    request.headers = headers
    request.headers.add(name: "authorization", value: "Bearer \(key)")
    request.body = .bytes(ByteBuffer(bytes: body))
    return try await Self.send(request)
  }

  func get(_ path: String) async throws -> Answer {
    try await Self.send(HTTPClientRequest(url: "http://\(admin)\(path)"))
  }

  private static func send(_ request: HTTPClientRequest) async throws -> Answer {
    let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
    let body = try await response.body.collect(upTo: 1 << 20)
    return Answer(status: Int(response.status.code), headers: response.headers, body: String(buffer: body))
  }

  /// The ID of the store that it mirrors, by its status.
  func storeID() async throws -> String {
    let status = try JSONSerialization.jsonObject(with: Data(try await get("/status").body.utf8)) as? [String: Any]
    guard let id = (status?["store"] as? [String: Any])?["id"] as? String else {
      throw NeverHappened(description: "\(name) says of no store that it mirrors it")
    }
    return id
  }

  func isReady() async throws -> Bool { try await get("/readyz").status == 200 }

  func becomesReady(within limit: Duration = .seconds(20)) async throws {
    try await eventually(within: limit, "\(name) is ready") { try await isReady() }
  }
}
