import Hiredis
import NIOCore
import RedisClient
import RedisFixture
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct RedisConnectionTests {
  @Test(arguments: Transport.allCases)
  func `thousands of pipelined commands are answered in their order`(over transport: Transport) async throws {
    try await withConnection(over: transport) { _, connection in
      let inOneWrite = try await connection.execute((0..<5000).map { RedisCommand("ECHO", $0) })
      #expect(inOneWrite == (0..<5000).map { .bulk(Array("\($0)".utf8)) })
      let oneByOne = (0..<5000).map { connection.send(RedisCommand("ECHO", $0)) }
      for (number, answer) in oneByOne.enumerated() {
        #expect(try await answer.get() == .bulk(Array("\(number)".utf8)))
      }
    }
  }

  @Test(arguments: Transport.allCases)
  func `arguments of any bytes come back as they were`(over transport: Transport) async throws {
    var generator = SeededGenerator.announced()
    try await withConnection(over: transport) { _, connection in
      var payloads: [[UInt8]] = [
        [], Array(0...255), Array("\r\n$3\r\n*-1\r\n".utf8), [UInt8](repeating: 0, count: 70_000),
      ]
      for _ in 0..<50 {
        payloads.append(
          (0..<Int.random(in: 0...300, using: &generator)).map { _ in .random(in: 0...255, using: &generator) })
      }
      payloads.append((0..<1_000_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) })
      for payload in payloads {
        let reply = try await connection.execute(RedisCommand("ECHO", payload))
        #expect(reply == .bulk(payload), "\(payload.count) bytes")
      }
    }
  }

  @Test(arguments: Transport.allCases)
  func `the database of the address is the one that is used`(over transport: Transport) async throws {
    try await withConnection(over: transport) { server, connection in
      var endpoint = transport.endpoint(of: server)
      endpoint.database = 3
      let other = try await connected(to: endpoint)
      try await other.execute(RedisCommand("SET", "key", "three")).ok()
      #expect(try await connection.execute(RedisCommand("EXISTS", "key")) == .integer(0))
      #expect(try await connection.execute(RedisCommand("SELECT", 3)) == .status("OK"))
      #expect(try await connection.execute(RedisCommand("GET", "key")).string() == "three")
      other.close()
    }
  }

  @Test(arguments: Transport.allCases)
  func `password and user of the address are used`(over transport: Transport) async throws {
    let options = RedisServerOptions {
      $0.password = "correct horse \r\n"
      $0.users = ["alice on >staple ~a:* +get +set +client|setname +acl|whoami"]
    }
    try await withConnection(over: transport, options) { server, connection in
      #expect(try await connection.execute(RedisCommand("ACL", "WHOAMI")).string() == "default")
      var endpoint = transport.endpoint(of: server)
      endpoint.user = "alice"
      endpoint.password = Secret("staple")
      let alice = try await connected(to: endpoint)
      #expect(try await alice.execute(RedisCommand("ACL", "WHOAMI")).string() == "alice")
      let reply = try await alice.execute(RedisCommand("SET", "b", 1))
      #expect(throws: RedisServerError.self) { try reply.ok() }
      guard case .error(let error) = reply else { return }
      #expect(error.code == "NOPERM")
      alice.close()
    }
  }

  @Test func `the connection's name is seen in the list of clients`() async throws {
    try await withRedis { server in
      let connection = try await connected(to: server.endpoint) { $0.name = "rhubarb" }
      let list = try await connection.execute(RedisCommand("CLIENT", "LIST")).string()
      #expect(list.contains("name=rhubarb "))
      connection.close()
    }
  }

  @Test func `error replies are values, and the conversation goes on`() async throws {
    try await withConnection(over: .unix) { _, connection in
      let replies = try await connection.execute([
        RedisCommand("SET", "key", "text"), RedisCommand("LPUSH", "key", 1), RedisCommand("NOSUCH"),
        RedisCommand("GET", "key"), RedisCommand("GET", "other"), RedisCommand("LRANGE", "none", 0, -1),
      ])
      #expect(replies.count == 6)
      guard case .error(let wrongType) = replies[1], case .error(let unknown) = replies[2] else {
        Issue.record("\(replies)")
        return
      }
      #expect(wrongType.code == "WRONGTYPE" && unknown.code == "ERR")
      #expect(replies[3] == .bulk(Array("text".utf8)))
      #expect(replies[4] == .null)
      #expect(replies[5] == .array([]))
    }
  }

  @Test func `a server that can't serve now says so in codes`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "pw" }) { server in
      let connection = try await connected(to: server.endpoint)
      func code(_ command: RedisCommand) async throws -> String? {
        guard case .error(let error) = try await connection.execute(command) else { return nil }
        return error.code
      }
      for number in 0..<200 {
        try await connection.execute(RedisCommand("SET", "k\(number)", String(repeating: "x", count: 1024))).ok()
      }
      try await connection.execute(RedisCommand("CONFIG", "SET", "maxmemory", 1)).ok()
      #expect(try await code(RedisCommand("SET", "new", 1)) == "OOM")
      try await connection.execute(RedisCommand("CONFIG", "SET", "maxmemory", 0)).ok()

      // A replica of nobody.
      try await connection.execute(RedisCommand("REPLICAOF", "127.0.0.1", 1)).ok()
      #expect(try await code(RedisCommand("SET", "new", 1)) == "READONLY")
      try await connection.execute(RedisCommand("CONFIG", "SET", "replica-serve-stale-data", "no")).ok()
      #expect(try await code(RedisCommand("GET", "k1")) == "MASTERDOWN")
      try await connection.execute(RedisCommand("REPLICAOF", "NO", "ONE")).ok()

      try await connection.execute(RedisCommand("CONFIG", "SET", "min-replicas-to-write", 1)).ok()
      #expect(try await code(RedisCommand("SET", "new", 1)) == "NOREPLICAS")
      try await connection.execute(RedisCommand("CONFIG", "SET", "min-replicas-to-write", 0)).ok()

      // 200 keys of 20 ms each.
      try await connection.execute(RedisCommand("CONFIG", "SET", "loading-process-events-interval-bytes", 1024)).ok()
      try await connection.execute(RedisCommand("CONFIG", "SET", "key-load-delay", 20_000)).ok()
      let reload = connection.send(RedisCommand("DEBUG", "RELOAD"), within: .seconds(30))
      let other = try await connected(to: server.endpoint)
      try await eventually("the server says LOADING") {
        guard case .error(let error) = try await other.execute(RedisCommand("GET", "k1")) else { return false }
        return error.code == "LOADING" && error.isPassing
      }
      try await server.kill9()
      #expect(try await reload.redisError().outcome == .unknown)
    }
  }

  @Test func `a connection that lost its right to speak is told NOAUTH`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "pw" }) { server in
      let connection = try await connected(to: server.endpoint)
      #expect(try await connection.execute(RedisCommand("RESET")) == .status("RESET"))
      guard case .error(let error) = try await connection.execute(RedisCommand("GET", "key")) else {
        Issue.record("no error")
        return
      }
      #expect(error.code == "NOAUTH" && !error.isPassing)
      connection.close()
    }
  }

  @Test func `commands that are encoded already are sent as they are`() async throws {
    try await withConnection(over: .tcp) { _, connection in
      let buffer = ByteBuffer(bytes: RedisCommand("ECHO", "a").encoded + RedisCommand("ECHO", "b").encoded)
      let fromElsewhere = connection.send(encoded: buffer, named: "ECHO", expecting: 2, deadline: .now() + .seconds(5))
      let first = try await fromElsewhere.get()
      #expect(first == [.bulk([97]), .bulk([98])])
      let fromTheLoop = connection.eventLoop.flatSubmit {
        connection.send(encoded: buffer, named: "ECHO", expecting: 2, deadline: .now() + .seconds(5))
      }
      #expect(try await fromTheLoop.get() == [.bulk([97]), .bulk([98])])
      #expect(try await connection.execute([RedisCommand]()) == [])
    }
  }

  @Test func `whoever gets an answer may send the next command from within`() async throws {
    try await withConnection(over: .unix) { _, connection in
      // Two at a time, so that an answer is being handed out while another one of the same read still is to be.
      let done = connection.eventLoop.makePromise(of: Int64.self)
      @Sendable func increment(until last: Int64) {
        _ = connection.send(RedisCommand("PING"))
        connection.send(RedisCommand("INCR", "n")).flatMapThrowing { try $0.integer() }.whenComplete { result in
          switch result {
          case .success(let number) where number < last: increment(until: last)
          case .success(let number): done.succeed(number)
          case .failure(let error): done.fail(error)
          }
        }
      }
      increment(until: 2000)
      let last = try await done.futureResult.get()
      #expect(last == 2000)
    }
  }

  @Test func `whoever gets an answer may close from within; what came before is still answered`() async throws {
    try await withConnection(over: .unix) { _, connection in
      let (answers, after) = try await connection.eventLoop.submit {
        () -> ([EventLoopFuture<RedisReply>], EventLoopFuture<RedisReply>) in
        let first = connection.send(RedisCommand("ECHO", 1))
        let second = connection.send(RedisCommand("ECHO", 2))
        let blocked = connection.send(RedisCommand("BLPOP", "none", 20))
        let after = connection.eventLoop.makePromise(of: RedisReply.self)
        first.whenSuccess { _ in
          connection.close()
          connection.send(RedisCommand("ECHO", 3)).cascade(to: after)
        }
        return ([first, second, blocked], after.futureResult)
      }.get()
      #expect(try await answers[0].get() == .bulk(Array("1".utf8)))
      // It came in the same read as the first, or it didn't come: both are the truth.
      do {
        #expect(try await answers[1].get() == .bulk(Array("2".utf8)))
      } catch {
        #expect(error as? RedisError == RedisError(.shutDown, outcome: .unknown))
      }
      #expect(try await answers[2].redisError() == RedisError(.shutDown, outcome: .unknown))
      #expect(try await after.redisError() == RedisError(.shutDown, outcome: .notSent))
    }
  }

  @Test func `whoever is told of the end finds a closed connection`() async throws {
    try await withConnection(over: .unix) { _, connection in
      let answer = connection.send(RedisCommand("BLPOP", "none", 20))
      let retried = answer.flatMapError { _ in connection.send(RedisCommand("PING")) }
      connection.close()
      connection.close()
      let error = try await retried.redisError()
      #expect(error == RedisError(.shutDown, outcome: .notSent))
    }
  }

  @Test func `no more waits than the options allow`() async throws {
    try await withRedis { server in
      let connection = try await connected(to: server.endpoint) {
        $0.waitingLimit = 2
        $0.waitingBytesLimit = 100
      }
      let blocked = connection.send(RedisCommand("BLPOP", "list", 0))
      let tooLarge = connection.send(RedisCommand("ECHO", [UInt8](repeating: 1, count: 100)))
      let second = connection.send(RedisCommand("PING"))
      let third = connection.send(RedisCommand("PING"))
      #expect(try await tooLarge.redisError() == RedisError(.tooMuchWaiting(limit: "100 bytes"), outcome: .notSent))
      #expect(try await third.redisError() == RedisError(.tooMuchWaiting(limit: "2 commands"), outcome: .notSent))
      let other = try await connected(to: server.endpoint)
      #expect(try await other.execute(RedisCommand("RPUSH", "list", "x")).integer() == 1)
      #expect(try await blocked.get() == .array([.bulk(Array("list".utf8)), .bulk(Array("x".utf8))]))
      #expect(try await second.get() == .status("PONG"))
      other.close()
      connection.close()
    }
  }

  @Test func `a reply over the limits ends the conversation`() async throws {
    try await withRedis { server in
      let connection = try await connected(to: server.endpoint) {
        $0.replyLimits = ReplyLimits(elements: 10, bytes: 1000)
      }
      let answers = try await connection.sendFromLoop(
        (RedisCommand("ECHO", [UInt8](repeating: 1, count: 1001)), within: .seconds(5)),
        (RedisCommand("PING"), within: .seconds(5)))
      for answer in answers {
        let error = try await answer.redisError()
        guard case .unreadable(.overLimit) = error.reason, error.outcome == .unknown else {
          Issue.record("\(error)")
          return
        }
      }
      try await connection.closed.get()
    }
  }
}
