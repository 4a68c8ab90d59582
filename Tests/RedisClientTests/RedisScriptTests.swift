import Hiredis
import NIOCore
import RedisClient
import RedisFixture
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct RedisScriptTests {
  private let add = RedisScript(
    name: "add", source: "return redis.call('INCRBY', KEYS[1], ARGV[1]) + tonumber(ARGV[2])")

  /// How often the server has run a command.
  private func calls(_ command: String, on connection: RedisConnection) async throws -> Int {
    let text = try await connection.execute(RedisCommand("INFO", "commandstats")).string()
    let line = text.split(separator: "\r\n").first { $0.hasPrefix("cmdstat_\(command):calls=") }
    return Int(line?.split(separator: "=")[1].prefix { $0.isNumber } ?? "0") ?? -1
  }

  @Test func `a script's digest is what the server calls it`() async throws {
    try await withConnection(over: .unix) { _, connection in
      let digest = try await connection.execute(RedisCommand("SCRIPT", "LOAD", add.source)).string()
      #expect(digest == add.digest)
    }
  }

  @Test(arguments: Transport.allCases)
  func `a script runs by its digest, and with its source only where the server lacks it`(
    over transport: Transport
  ) async throws {
    try await withConnection(over: transport) { _, connection in
      for round in 1...3 {
        #expect(try await connection.execute(add, keys: ["n"], arguments: [10, 1]) == .integer(Int64(round * 10 + 1)))
      }
      #expect(try await calls("eval", on: connection) == 1)
      try await connection.execute(RedisCommand("SCRIPT", "FLUSH")).ok()
      #expect(try await connection.execute(add, keys: ["n"], arguments: [10, 1]) == .integer(41))
      #expect(try await calls("eval", on: connection) == 2)
      #expect(try await calls("evalsha", on: connection) == 4)
    }
  }

  @Test func `a script's error is a value, and is run once`() async throws {
    let failing = RedisScript(
      name: "failing", source: "redis.call('INCR', KEYS[1]); return redis.error_reply('RHUBARB no')")
    try await withConnection(over: .unix) { _, connection in
      let reply = try await connection.execute(failing, keys: ["n"])
      #expect(reply == .error(RedisServerError(message: "RHUBARB no")))
      #expect(try await connection.execute(RedisCommand("GET", "n")).string() == "1")
    }
  }

  @Test func `both tries share one deadline`() async throws {
    // With a fresh limit, the second try's answer would still be in time.
    let delays = Mutex([TimeAmount.milliseconds(100), .milliseconds(950)])
    let server = try await HostileServer.start { client, _ in
      let delay = delays.withLock { $0.removeFirst() }
      client.eventLoop.scheduleTask(in: delay) { client.say("-NOSCRIPT No matching script.\r\n") }
    }
    let connection = try await connected(to: server.endpoint)
    let error = try await connection.run(add, keys: ["n"], within: .milliseconds(1000)).redisError()
    #expect(error == RedisError(.deadlineExceeded(command: "EVAL"), outcome: .unknown))
  }
}
