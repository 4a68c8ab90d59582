import Hiredis
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

/// Clients of one slot of a real cluster, whose slot moves under their hands.
@Suite(.timeLimit(.minutes(2))) struct ClusterTests {
  private static let slotKey = "sluice:{queue-0}:slot"

  private func client(of cluster: RedisCluster, _ change: (inout RedisOptions) -> Void = { _ in }) -> RedisClient {
    var options = RedisOptions(name: "client")
    change(&options)
    return RedisClient(
      endpoint: cluster.endpoint, options: options,
      backoff: Backoff(first: .milliseconds(10), most: .milliseconds(200)),
      routedBy: Self.slotKey, on: MultiThreadedEventLoopGroup.singleton.next(),
      logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  @Test func `slots are those that Redis works out`() async throws {
    var generator = SeededGenerator.announced(for: "slots of keys")
    let keys =
      ["", "a", "{}", "{}a", "{a", "a}", "}{a}", "{a}{b}", "a{{b}}", "a{b", "sluice:{queue-0}:pending:0", "123456789"]
      + (0..<500).map { _ in
        String(
          (0..<Int.random(in: 1...12, using: &generator)).map { _ in "ab{}:é".randomElement(using: &generator) ?? "a" })
      }
    let cluster = try await RedisCluster.start()
    for key in keys {
      #expect(Int64(ClusterSlot(of: key).number) == (try await cluster.slot(of: key)), "\(key)")
    }
    try await cluster.end()
  }

  @Test func `a client goes to the node that has its slot, and follows it when it moves`() async throws {
    let cluster = try await RedisCluster.start()
    let client = client(of: cluster)
    let slot = try await cluster.slot(of: Self.slotKey)
    let home = try await cluster.owner(of: slot)
    let other = (home + 1) % 3
    let connection = try await client.connection(within: .seconds(5)).get()
    #expect(connection.server.address == .tcp(host: "127.0.0.1", port: cluster.nodes[home].port))
    #expect(try await client.execute(RedisCommand("LPUSH", "{queue-0}a", "x")) == .integer(1))

    try await cluster.beginMove(of: slot, from: home, to: other)
    // This key is still here, that one isn't anywhere yet, and is made there.
    let both = [RedisCommand("LPUSH", "{queue-0}a", "y"), RedisCommand("LPUSH", "{queue-0}b", "x")]
    #expect(try await client.execute(both) == [.integer(2), .integer(1)])
    #expect(try await cluster.nodes[home].run("LLEN", "{queue-0}a").integer() == 2)
    // A script never begins while the slot moves, though all that it names is here: it waits, and then has gone there.
    let script = RedisScript(
      name: "count",
      source: "#!lua flags=allow-oom\nreturn #KEYS * 100 + redis.call('LLEN', KEYS[1]) + redis.call('LLEN', KEYS[2])")
    let counting = client.run(script, keys: ["{queue-0}a", "{queue-0}b"], within: .seconds(20))
    let late = try await client.run(script, keys: ["{queue-0}a", "{queue-0}a"], within: .milliseconds(200)).redisError()
    #expect(late.outcome == .notSent)
    guard case .redirected(let text) = late.reason, text.hasPrefix("TRYAGAIN") else {
      Issue.record("\(late)")
      return
    }
    try await cluster.moveKeys(of: slot, from: home, to: other)
    #expect(try await client.execute(RedisCommand("LPUSH", "{queue-0}a", "z")) == .integer(3))
    try await cluster.endMove(of: slot, from: home, to: other)
    // The key that kept it from beginning isn't there for the script.
    #expect(try await counting.get() == .integer(204))
    #expect(try await client.execute(both) == [.integer(4), .integer(2)])
    try await eventually("the connection has moved") {
      try await client.connection(within: .seconds(5)).get().server.address
        == .tcp(host: "127.0.0.1", port: cluster.nodes[other].port)
    }
    try await eventually("the old one is closed") {
      try await !cluster.nodes[home].run("CLIENT", "LIST").string().contains("name=client")
    }
    try await client.shutDown().get()
    try await eventually("and so is the new one") {
      try await !cluster.nodes[other].run("CLIENT", "LIST").string().contains("name=client")
    }
    try await cluster.end()
  }

  @Test func `nothing is lost or doubled while the slot goes round and round`() async throws {
    let cluster = try await RedisCluster.start()
    let client = client(of: cluster)
    _ = try await client.connection(within: .seconds(5)).get()
    let slot = try await cluster.slot(of: Self.slotKey)
    let lists = (0..<4).map { "{queue-0}\($0)" }
    let wanted = 3_000
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<4 {
        group.addTask {
          for number in stride(from: lane, to: wanted, by: 4) {
            // Two at a time, of which one may be where the other isn't.
            let commands = [0, 1].map { RedisCommand("LPUSH", lists[(number + $0) % 4], "\(number)-\($0)") }
            for reply in try await client.execute(commands, within: .seconds(10)) { _ = try reply.integer() }
          }
        }
      }
      group.addTask {
        var home = try await cluster.owner(of: slot)
        for round in 0..<12 {
          let next = (home + 1 + round % 2) % 3
          try await cluster.move(slot, from: home, to: next)
          home = next
        }
      }
      try await group.waitForAll()
    }
    var found: [String] = []
    for list in lists {
      found += try await client.execute(RedisCommand("LRANGE", list, 0, -1)).array().map { try $0.string() }
    }
    #expect(found.count == wanted * 2)
    #expect(Set(found).count == wanted * 2)
    try await client.shutDown().get()
    try await cluster.end()
  }

  @Test func `a node that comes back is found, and seeds that are away aren't needed`() async throws {
    let cluster = try await RedisCluster.start()
    let slot = try await cluster.slot(of: Self.slotKey)
    let home = try await cluster.owner(of: slot)
    let client = client(of: cluster)
    #expect(try await client.execute(RedisCommand("SET", "{queue-0}", 1)) == .status("OK"))
    try await cluster.nodes[(home + 1) % 3].kill9()
    try await cluster.nodes[home].restart()
    try await eventually(within: .seconds(20), "the client is back") {
      try await client.send(RedisCommand("EXISTS", "{queue-0}")).get().integer() == 0
    }
    try await client.shutDown().get()
    try await cluster.end()
  }

  @Test func `a primary that is cut off is left for the one that took its place`() async throws {
    let cluster = try await RedisCluster.start(RedisClusterOptions { ($0.replicas, $0.canBeCut) = (1, true) })
    let slot = try await cluster.slot(of: Self.slotKey)
    let former = try await cluster.owner(of: slot)
    let client = client(of: cluster)
    let bound = try await RedisConnection.connected(
      to: cluster.endpoint, routedBy: Self.slotKey, on: MultiThreadedEventLoopGroup.singleton.any())
    #expect(try await client.execute(RedisCommand("SET", "{queue-0}", 1)) == .status("OK"))
    cluster.cutOff(former)
    let successor = try await cluster.promoted(for: slot, besides: former)
    // The write reached its replica, and the client finds the replica although the old connection still answers.
    #expect(try await client.execute(RedisCommand("GET", "{queue-0}"), within: .seconds(10)) == .bulk(Array("1".utf8)))
    try await eventually(within: .seconds(20), "the client is at the new primary") {
      _ = try await client.send(RedisCommand("GET", "{queue-0}"), within: .seconds(5)).get()
      return try await client.connection(within: .seconds(5)).get().server.address
        == .tcp(host: "127.0.0.1", port: cluster.nodes[successor].port)
    }
    // A conversation of its own isn't led elsewhere: it ends.
    let reply = try await bound.execute(RedisCommand("GET", "{queue-0}"))
    guard case .error(let error) = reply else {
      Issue.record("\(reply)")
      return
    }
    #expect(error.code == "CLUSTERDOWN")
    try await bound.closed.get()
    let late = try await bound.send(RedisCommand("PING")).redisError()
    #expect("\(late)".contains("the cluster is down, as far as this node knows"), "\(late)")
    // Whichever node is asked first, the one that is cut off among them.
    for _ in 0..<8 {
      var endpoint = cluster.endpoint
      endpoint.address = .cluster(
        seeds: [former, successor].map { RedisHost("127.0.0.1", port: cluster.nodes[$0].port) })
      let connection = try await RedisConnection.connected(
        to: endpoint, routedBy: Self.slotKey, on: MultiThreadedEventLoopGroup.singleton.any())
      #expect(connection.server.address == .tcp(host: "127.0.0.1", port: cluster.nodes[successor].port))
      connection.close()
    }
    try await client.shutDown().get()
    try await cluster.end()
  }

  @Test func `a conversation ends when its slot moves, and when it has moved`() async throws {
    let cluster = try await RedisCluster.start()
    let slot = try await cluster.slot(of: Self.slotKey)
    let home = try await cluster.owner(of: slot)
    let other = (home + 1) % 3
    func connected() async throws -> RedisConnection {
      try await RedisConnection.connected(
        to: cluster.endpoint, routedBy: Self.slotKey, on: MultiThreadedEventLoopGroup.singleton.any())
    }
    func expectEnd(of connection: RedisConnection, because text: String) async throws {
      _ = try await connection.execute(RedisCommand("GET", "{queue-0}b"))
      try await connection.closed.get()
      let late = try await connection.send(RedisCommand("PING")).redisError()
      #expect("\(late)".contains(text), "\(late)")
    }
    let first = try await connected()
    #expect(try await first.execute(RedisCommand("SET", "{queue-0}b", 1)) == .status("OK"))
    try await cluster.beginMove(of: slot, from: home, to: other)
    #expect(try await first.execute(RedisCommand("GET", "{queue-0}b")) == .bulk(Array("1".utf8)))
    try await cluster.moveKeys(of: slot, from: home, to: other)
    // A new connection is redirected to the node that still has the slot.
    let second = try await connected()
    try await expectEnd(of: first, because: "the keys' slot is moving to another node of the cluster: ASK")
    try await cluster.endMove(of: slot, from: home, to: other)
    try await expectEnd(of: second, because: "the keys' slot is at another node of the cluster now: MOVED")
    try await cluster.end()
  }

  /// Several independent servers must not be taken for a cluster: they would be several stores.
  @Test func `a server by itself is no cluster`() async throws {
    try await withRedis { server in
      let error = try await #require(throws: RedisError.self) {
        try await RedisConnection.connected(
          to: RedisEndpoint(address: .cluster(seeds: [RedisHost("127.0.0.1", port: server.port)])),
          routedBy: Self.slotKey, on: MultiThreadedEventLoopGroup.singleton.any())
      }
      let place = "127.0.0.1:\(server.port)"
      let why = "\(place) runs without cluster mode: write redis://\(place) instead of redis+cluster://"
      #expect("\(error)".hasSuffix(why), "\(error)")
    }
  }

  /// As with services that hide their nodes behind one address: without CLUSTER SLOTS, and at last without
  /// redirections.
  @Test func `where nobody may ask for the slots, the nodes themselves say who has one`() async throws {
    let cluster = try await RedisCluster.start()
    let slot = try await cluster.slot(of: Self.slotKey)
    let home = try await cluster.owner(of: slot)
    for node in cluster.nodes { try await node.run("ACL", "SETUSER", "default", "-cluster") }
    for seed in cluster.nodes {
      let connection = try await RedisConnection.connected(
        to: RedisEndpoint(address: .cluster(seeds: [RedisHost("127.0.0.1", port: seed.port)])),
        routedBy: Self.slotKey, on: MultiThreadedEventLoopGroup.singleton.any())
      #expect(connection.server.address == .tcp(host: "127.0.0.1", port: cluster.nodes[home].port))
      connection.close()
    }
    for node in cluster.nodes { try await node.run("ACL", "SETUSER", "default", "+cluster") }
    try await cluster.end()
  }

  @Test func `what is redirected counts against the limit of what may wait`() async throws {
    let cluster = try await RedisCluster.start()
    let client = client(of: cluster) { $0.waitingLimit = 2 }
    _ = try await client.connection(within: .seconds(5)).get()
    let slot = try await cluster.slot(of: Self.slotKey)
    let home = try await cluster.owner(of: slot)
    try await cluster.beginMove(of: slot, from: home, to: (home + 1) % 3)
    let waiting = (0..<2).map { _ in
      client.send(RedisCommand("MGET", "{queue-0}a", "{queue-0}b"), within: .seconds(3))
    }
    try await eventually("one more is refused") {
      let error = try await client.send(RedisCommand("MGET", "{queue-0}a", "{queue-0}b"), within: .milliseconds(100))
        .redisError()
      #expect(error.outcome == .notSent)
      if case .tooMuchWaiting = error.reason { return true }
      return false
    }
    for answer in waiting { #expect(try await answer.redisError().outcome == .notSent) }
    try await client.shutDown().get()
    try await cluster.end()
  }

  @Test func `what is bound to its server goes to no other, and the connection moves all the same`() async throws {
    let cluster = try await RedisCluster.start()
    let client = client(of: cluster)
    let slot = try await cluster.slot(of: Self.slotKey)
    let home = try await cluster.owner(of: slot)
    let other = (home + 1) % 3
    func push() async throws -> RedisReply {
      try await client.eventLoop.flatSubmit {
        client.eventLoop.makeCompletedFuture { try client.current.get() }.flatMap {
          client.send(
            encoded: [RedisCommand("LPUSH", "{queue-0}a", "x")].encoded, named: "LPUSH", expecting: 1,
            deadline: .now() + .seconds(5), on: $0, isBoundToServer: true)
        }
      }.get()[0]
    }
    _ = try await client.connection(within: .seconds(5)).get()
    #expect(try await push() == .integer(1))
    try await cluster.move(slot, from: home, to: other)
    let error = await #expect(throws: RedisError.self) { try await push() }
    #expect(error?.outcome == .notSent)
    try await eventually("the connection has moved") { try await push() == .integer(2) }
    // Its key isn't at either.
    _ = try await client.execute(RedisCommand("DEL", "{queue-0}a")).integer()
    try await cluster.beginMove(of: slot, from: other, to: home)
    let asked = await #expect(throws: RedisError.self) { try await push() }
    #expect(asked?.outcome == .notSent)
    try await cluster.endMove(of: slot, from: other, to: home)
    try await eventually("the connection has moved back") { try await push() == .integer(1) }
    try await client.shutDown().get()
    try await cluster.end()
  }

  @Test func `a cluster leads nowhere without a key`() async throws {
    let error = await #expect(throws: RedisError.self) {
      try await connected(to: RedisEndpoint("redis+cluster://127.0.0.1:1"))
    }
    #expect(error.map { "\($0)".contains("needs a Redis key") } == true)
  }
}
