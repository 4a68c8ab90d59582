// Reading a server's role and replicas, with whichever of the commands it permits.

import Hiredis
import KeyReplica
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(2))) struct ServerAccountTests {
  private static let users: [(rights: String, source: RoleSource, isWhole: Bool)] = [
    ("+@all", .role, true), ("+@all -role", .info, true), ("+@all -info", .role, false),
    ("+@all -role -info", .hello, false),
  ]

  private func withUser<Value>(
    _ rights: String, of redis: RedisServer, _ body: (RedisConnection) async throws -> Value
  ) async throws -> Value {
    let admin = try await RedisConnection.connected(to: redis.endpoint, on: StoreBench.loop)
    defer { admin.close() }
    let words =
      ["SETUSER", "alice", "reset", "on", ">pass", "~*", "&*"] + rights.split(separator: " ").map(String.init)
    _ = try await admin.execute(RedisCommand("ACL", arguments: words)).orThrow()
    var endpoint = redis.endpoint
    (endpoint.user, endpoint.password) = ("alice", Secret("pass"))
    let connection = try await RedisConnection.connected(to: endpoint, on: StoreBench.loop)
    defer { connection.close() }
    return try await body(connection)
  }

  @Test(arguments: RedisBuild.supported)
  func `each way to ask for the role says the same, as far as it says anything`(build: RedisBuild) async throws {
    let options = RedisServerOptions {
      $0.build = build
      $0.arguments = ["--repl-diskless-sync-delay", "0"]
    }
    let redis = try await RedisServer.start(options)
    let replica = try await RedisServer.start(options)
    try await replica.run("REPLICAOF", "127.0.0.1", "\(redis.port)")
    let copy = try DataSetCopy(of: redis, "PSYNC ? -1")
    try await eventually("both follow") {
      copy.readOn()
      return try await redis.run("INFO", "replication").string().matches(of: /state=online/).count == 2
    }
    try copy.say("REPLCONF ACK 1000000000")
    try await eventually("the copy has acknowledged") {
      try await ServerRole(redis.run("ROLE")).acknowledgingCopies == 1
    }
    for (rights, source, isWhole) in Self.users {
      try await withUser(rights, of: redis) { connection in
        let server = try await ServerAccount.read(from: connection, StoreLayout(), within: .seconds(5)).get()
        #expect(server.source == source && server.role.name == "master")
        #expect(server.role.replicas == (source == .hello ? nil : 1))
        #expect(server.role.acknowledgingCopies == (source == .hello ? 0 : 1))
        #expect((server.runID != nil) == isWhole && server.hasFollowed == (isWhole ? false : nil))
        #expect((server.shortcoming == nil) == (rights == "+@all"))
      }
      try await withUser(rights, of: replica) { connection in
        let server = try await ServerAccount.read(from: connection, StoreLayout(), within: .seconds(5)).get()
        #expect(server.source == source && server.role.name != "master", "\(server.role.name)")
      }
    }
    copy.end()
  }

  @Test(arguments: RedisBuild.supported)
  func `where no command says the role a write shows it`(build: RedisBuild) async throws {
    let options = RedisServerOptions {
      $0.build = build
      $0.arguments = ["ROLE", "INFO", "HELLO"].flatMap { ["--rename-command", $0, ""] }
    }
    try await withRedis(options) { redis in
      try await withRedis(options) { replica in
        try await replica.run("REPLICAOF", "127.0.0.1", "\(redis.port)")
        for (server, isPrimary) in [(redis, true), (replica, false)] {
          let connection = try await RedisConnection.connected(to: server.endpoint, on: StoreBench.loop)
          defer { connection.close() }
          let account = try await ServerAccount.read(from: connection, StoreLayout(), within: .seconds(5)).get()
          #expect(account.source == .write && (account.role.name == "master") == isPrimary)
        }
      }
    }
  }

  @Test func `an error that passes is no denial`() async throws {
    try await StoreBench.with { store in
      let busy = try await RedisConnection.connected(to: store.redis.endpoint, on: StoreBench.loop)
      defer { busy.close() }
      try await store.run("CONFIG", "SET", "busy-reply-threshold", 1)
      let endless = busy.send(RedisCommand("EVAL", "while true do end", 0), within: .seconds(30))
      try await eventually("Redis is busy") {
        if case .error(let error) = try await store.connection.execute(RedisCommand("GET", "x")) {
          return error.code == "BUSY"
        }
        return false
      }
      await #expect(throws: RedisServerError.self) {
        try await ServerAccount.read(from: store.connection, store.layout, within: .seconds(5)).get()
      }
      try await store.run("SCRIPT", "KILL")
      _ = try await endless.get()
      _ = try await ServerAccount.read(from: store.connection, store.layout, within: .seconds(5)).get()
    }
  }

  @Test func `two conversations meet where they are with one server, full or not`() async throws {
    try await StoreBench.with { here in
      try await StoreBench.with { there in
        func meet(_ one: RedisConnection, _ other: RedisConnection) async throws -> Bool {
          try await StoreLayout().meet(writing: one, reading: other, within: .seconds(5)).get()
        }
        let second = try await RedisConnection.connected(to: here.redis.endpoint, on: StoreBench.loop)
        defer { second.close() }
        #expect(try await meet(here.connection, second))
        #expect(try await meet(here.connection, there.connection) == false)
        try await here.run("CONFIG", "SET", "maxmemory", "1mb")
        #expect(try await meet(second, here.connection))
        for key in try await here.run("KEYS", "*").array() {
          #expect((1...10_000).contains(try await here.run("PTTL", try key.string()).integer()))
        }
      }
    }
  }
}
