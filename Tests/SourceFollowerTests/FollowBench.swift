// A real PostgreSQL with a table of keys, a real Redis, and key-publisher follow between them.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOPosix
import RedisClient
import RedisFixture

struct FollowBench: Sendable {
  let redis: RedisServer
  let postgres: PostgresServer
  let layout = StoreLayout()

  /// The options for the table.
  static let columns = [
    "--table", "api_keys", "--key-column", "secret", "--account-column", "account", "--state", "state",
  ]

  /// Creates a table `api_keys` with this number of keys, each with an account of its own.
  init(keys: Int = 0, redis options: RedisServerOptions = RedisServerOptions()) async throws {
    async let redis = RedisServer.start(options)
    async let postgres = PostgresServer.start()
    (self.redis, self.postgres) = (try await redis, try await postgres)
    try await self.postgres.query(
      """
      CREATE TABLE api_keys (secret text UNIQUE, account text NOT NULL, state text NOT NULL DEFAULT 'active', used int);
      INSERT INTO api_keys SELECT 'sk_' || n, 'account-' || n FROM generate_series(1, \(keys)) n;
      """)
  }

  private init(redis: RedisServer, postgres: PostgresServer) { (self.redis, self.postgres) = (redis, postgres) }

  /// The same database, and another Redis.
  func beside() async throws -> FollowBench { FollowBench(redis: try await RedisServer.start(), postgres: postgres) }

  var environment: [String: String] {
    ["SLUICE_REDIS": redis.endpoint.description, "SLUICE_SOURCE": postgres.address]
  }

  func start(_ arguments: [String]) async throws -> ServiceProcess {
    try await ServiceProcess.start("key-publisher", ["follow"] + arguments, environment: environment)
  }

  /// Starts a follower of the table, and waits until the store is equal to it.
  func follow(_ arguments: [String] = []) async throws -> ServiceProcess {
    let process = try await start(Self.columns + ["--install", "--mark-every", "100ms"] + arguments)
    try await process.waitForLine(containing: "the store is equal to the source")
    return process
  }

  struct CommandFailed: Error, CustomStringConvertible {
    let description: String
  }

  /// Runs a command of key-publisher, which must succeed.
  /// - Returns: Its standard output.
  @discardableResult
  func publisher(_ arguments: String...) async throws -> String {
    let process = try await ServiceProcess.start("key-publisher", arguments, environment: environment)
    guard try await process.waitForExit() == .exited(0) else {
      throw CommandFailed(description: "key-publisher \(arguments): \(process.outputs)")
    }
    try await process.waitForOutputs()
    return process.standardOutput.text
  }

  /// The store's ID and name; nil if there is no store.
  func store() async throws -> StoreIdentity? {
    try await with { connection in
      guard case .found(let position) = try await connection.storePosition(layout) else { return nil }
      return position.store
    }
  }

  /// The record of a key, read on a connection of its own; nil also if there is no store.
  func record(_ secret: String) async throws -> KeyRecord? {
    try await with { connection in
      guard case .found = try await connection.storePosition(layout) else { return nil }
      return try await connection.storedRecord(of: KeyID(secret: secret.utf8), layout)
    }
  }

  func state(_ secret: String) async throws -> KeyState? { try await record(secret)?.state }

  func mark() async throws -> SourceMark {
    try await with { try await SourceMarks(connection: $0, layout: layout).read().mark }
  }

  func time() async throws -> UInt64 {
    try await with { try await SourceMarks(connection: $0, layout: layout).time() }
  }

  /// Waits for a mark that covers everything that was committed before this call.
  func becomesEqual(within limit: Duration = .seconds(30)) async throws {
    let now = try await time()
    try await eventually(within: limit, "the mark is later than now") { try await mark().covers(now) }
  }

  func with<Answer: Sendable>(_ body: (RedisConnection) async throws -> Answer) async throws -> Answer {
    let connection = try await RedisConnection.connected(
      to: redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await body(connection)
  }

  /// The differences between the store and the table, one text for each key.
  func differences() async throws -> [String] {
    let rows = try await postgres.query("SELECT secret, account, state FROM api_keys WHERE secret IS NOT NULL")
    var expected: [KeyID: [String]] = [:]
    for row in rows { expected[KeyID(secret: row[0].utf8)] = Array(row[1...]) }
    var differences: [String] = []
    try await with { connection in
      _ = try await connection.eachStoredKey(layout) { keys in
        for stored in keys {
          let found = [stored.record.account, stored.record.state.word]
          if let row = expected.removeValue(forKey: stored.key) {
            if row != found { differences.append("\(stored.key): \(found), expected \(row)") }
          } else if stored.record.state != .revoked {
            differences.append("\(stored.key): \(found), and it isn't in the source")
          }
        }
      }
    }
    return differences + expected.map { "\($0.key): missing, expected \($0.value)" }
  }

  /// The number of changes in the outbox.
  func waiting() async throws -> Int {
    Int(try await postgres.query("SELECT count(*) FROM sluice_key_changes")[0][0]) ?? -1
  }
}
