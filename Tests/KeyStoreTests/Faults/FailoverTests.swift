// A failover by real Sentinels, and a node that goes on talking to the deposed primary: the one way in which a store that is sound in
// itself can make a proof wrong. The fence has to keep such proofs from being made.

import Hiredis
import KeyReplica
import NIOCore
import NIOPosix
@testable import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(2))) struct FailoverTests {
  private static let name = "keys"

  /// A primary with a populated store, its replicas, and three Sentinels that know of all of them.
  private struct Cluster {
    let primary: StoreBench
    let replicas: [StoreBench]
    let sentinels: [Sentinel]
    let watch: RedisConnection

    /// - Parameter isQuick: The Sentinels look and tell each other more often than as shipped.
    static func start(replicas count: Int, isQuick: Bool) async throws -> Cluster {
      // A replica is fed at once, not after five seconds in which others might come.
      let options = RedisServerOptions { $0.arguments = ["--repl-diskless-sync-delay", "0"] }
      let primary = try await StoreBench(try await RedisServer.start(options))
      try await primary.put(FaultBench.steady)
      _ = try await primary.writer.seal()
      var replicas: [StoreBench] = []
      for number in 1...count {
        let replica = try await StoreBench(try await RedisServer.start(options))
        try await replica.run("REPLICAOF", "127.0.0.1", primary.redis.port)
        replicas.append(replica)
        try await eventually("replica \(number) follows") {
          try await primary.run("ROLE").array()[2].array().count == number
        }
      }
      var sentinels: [Sentinel] = []
      for _ in 0..<3 {
        sentinels.append(
          try await Sentinel.start(watching: primary.redis, as: name, quorum: 2, downAfter: isQuick ? 200 : 500))
      }
      let watches = try await sentinels.asyncMap {
        try await RedisConnection.connected(to: $0.endpoint, on: StoreBench.loop)
      }
      for watch in watches {
        if isQuick {
          _ = try await watch.execute(
            RedisCommand("SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 500, "ASK-PERIOD", 200)
          ).orThrow()
        }
        try await eventually(within: .seconds(20), "a sentinel knows of everybody") {
          let facts = try await watch.execute(RedisCommand("SENTINEL", "MASTER", name)).array().map { try $0.string() }
          func fact(_ field: String) -> String? { facts.firstIndex(of: field).map { facts[$0 + 1] } }
          return fact("num-slaves") == "\(count)" && fact("num-other-sentinels") == "2"
        }
      }
      for watch in watches.dropFirst() { watch.close() }
      return Cluster(primary: primary, replicas: replicas, sentinels: sentinels, watch: watches[0])
    }

    /// Waits until the Sentinels have made one of the replicas the primary.
    func promoted() async throws -> StoreBench {
      var found: StoreBench?
      try await eventually(within: .seconds(20), "a replica is promoted") {
        let address = try await watch.execute(RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)).array()
        let port = try address[1].string()
        guard let replica = replicas.first(where: { "\($0.redis.port)" == port }) else { return false }
        // A server that is told what it is from now on cuts its connections.
        let bench = try await StoreBench(replica.redis)
        found = bench
        return try await bench.run("ROLE").array()[0].string() == "master"
      }
      guard let found else { throw NeverHappened(description: "no replica is promoted") }
      return found
    }

    func end() async throws {
      watch.close()
      for sentinel in sentinels { try await sentinel.kill9() }
      for bench in [primary] + replicas {
        bench.connection.close()
        try await bench.redis.kill9()
        bench.redis.folder.remove()
      }
    }
  }

  /// As shipped, Sentinel takes so long that the node's connection breaks in the meantime; when it is quick the node never notices that the
  /// primary was held.
  @Test(arguments: [(1, false), (1, true), (2, true)])
  func `a deposed primary refuses nobody whom the new one knows`(replicas: Int, isQuick: Bool) async throws {
    let cluster = try await Cluster.start(replicas: replicas, isQuick: isQuick)
    try await cluster.primary.run("HSET", cluster.primary.layout.meta, "replicas", replicas)
    let address = try MovableAddress()
    try address.lead(to: cluster.primary.redis)
    let journal = Journal()
    let driver = ReplicaDriver(
      endpoint: address.endpoint, layout: StoreLayout(), name: "mirror",
      on: MultiThreadedEventLoopGroup.singleton.any(), logger: journal.logger)
    let asker = KeyAsker(driver, journal: journal, active: FaultBench.steady, always: [FaultBench.victim])
    driver.start()
    func refusesStrangers(since: Instant) async throws -> Bool {
      guard case .refuse(.unknownKey, let proof) = try await driver.verdict(of: KeyID(secret: "nobody".utf8)).get()
      else { return false }
      return proof.asOf >= since
    }
    try await eventually("the mirror can refuse") { try await refusesStrangers(since: .now) }

    let key = KeyID(secret: "put at the new primary".utf8)
    let bucket = cluster.primary.layout.bucket(key.bucket(of: StoreLayout.bucketCount))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await asker.run() }
      try await Self.enough(asker, .before)
      let paused = Instant.now
      try await cluster.primary.redis.pause()
      let successor = try await cluster.promoted()
      _ = try await successor.writer.apply([.put("put at the new primary")])
      let resumed = Instant.now
      try cluster.primary.redis.resume()
      asker.enter(.during)
      // As long as the third server follows the old primary, the two of them are a majority that knows nothing of the put: it isn't confirmed,
      // and nothing is promised for it. From then on nobody bears the old primary out.
      for third in cluster.replicas where third.redis.port != successor.redis.port {
        try await eventually(within: .seconds(20), "the third server follows the new primary") {
          // A server that is told whom to follow cuts its connections.
          let bench = try await StoreBench(third.redis)
          defer { bench.connection.close() }
          return try await bench.run("HEXISTS", bucket, key.bytes).integer() == 1
        }
      }
      asker.include(["put at the new primary"])
      // For as long as the old primary calls itself one, it would vouch for the key's absence.
      var falseWitnesses = 0
      let old = try await StoreBench(cluster.primary.redis)
      try await eventually(within: .seconds(30), "the old primary is told, and cuts its connections") {
        if try await old.connection.eventLoop.submit({ old.connection.ended != nil }).get() { return true }
        let replies = try await old.connection.execute([
          RedisCommand("HEXISTS", bucket, key.bytes), RedisCommand("ROLE"),
        ])
        guard try replies[1].array()[0].string() == "master" else { return true }
        if try replies[0].integer() == 0 { falseWitnesses += 1 }
        return false
      }
      let deposed = Instant.now
      let during = asker.record
      #expect(falseWitnesses > 20 && during.answers[.during, default: 0] > 1_000, "there was nothing to be seen")
      #expect(during.log.contains { $0.at > resumed && $0.text.contains("servers say that this is the primary") })

      try address.lead(to: successor.redis)
      try await eventually(within: .seconds(30), "the new primary is followed, and borne out") {
        try await refusesStrangers(since: deposed)
      }
      guard case .admit = try await driver.verdict(of: key).get() else {
        Issue.record("the key that was put at the new primary isn't admitted")
        return
      }
      asker.enter(.after)
      try await Self.enough(asker, .after)
      let record = asker.record
      #expect(record.wrong.isEmpty, "active keys were refused, \(record.wrongCount) times")
      #expect(record.undecided.isEmpty, "keys that were active all the time weren't admitted")
      let kept = !during.log.contains {
        $0.at > paused && $0.at < resumed + .milliseconds(200) && $0.text.contains("store is away")
      }
      print(
        "FAILOVER | \(replicas) replicas | promoted after \(paused.milliseconds(until: resumed)) ms | deposed window "
          + "\(resumed.milliseconds(until: deposed)) ms, \(falseWitnesses) false witnesses in it | connection kept: \(kept) | "
          + "wrong refusals: \(record.wrongCount) of \(during.answers[.during, default: 0]) answers | "
          + "of the new key: \(record.undecidedAtFirst)")
      group.cancelAll()
      try await group.waitForAll()
    }
    driver.stop()
    try await cluster.end()
  }

  private static func enough(_ asker: KeyAsker, _ phase: KeyAsker.Phase) async throws {
    try await eventually("enough is asked \(phase) the failover") {
      let record = asker.record
      return record.answers[phase, default: 0] > 100 && record.strangers[phase, default: 0] > 5
    }
  }
}

extension Instant {
  fileprivate func milliseconds(until later: Instant) -> Int64 { (later.nanoseconds - nanoseconds) / 1_000_000 }
}

extension Sequence {
  fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
    var values: [Value] = []
    for element in self { values.append(try await transform(element)) }
    return values
  }
}
