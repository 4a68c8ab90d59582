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
  /// As shipped, Sentinel takes so long that the node's connection breaks in the meantime; when it is quick the node never notices that the
  /// primary was held.
  @Test(arguments: [(1, false), (1, true), (2, true)])
  func `a deposed primary refuses nobody whom the new one knows`(replicas: Int, isQuick: Bool) async throws {
    let watched = try await WatchedRedis.start(replicas: replicas, isQuick: isQuick)
    let primary = try await StoreBench(watched.primary)
    try await primary.put(FaultBench.steady)
    _ = try await primary.writer.seal()
    try await primary.run("HSET", primary.layout.meta, "replicas", replicas)
    let address = try MovableAddress()
    try address.lead(to: primary.redis)
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
    let bucket = primary.layout.bucket(key.bucket(of: StoreLayout.bucketCount))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await asker.run() }
      try await Self.enough(asker, .before)
      let paused = Instant.now
      try await primary.redis.pause()
      let successor = try await StoreBench(try await watched.promoted())
      _ = try await successor.writer.apply([.put("put at the new primary")])
      let resumed = Instant.now
      try primary.redis.resume()
      asker.enter(.during)
      // As long as the third server follows the old primary, the two of them are a majority that knows nothing of the put: it isn't confirmed,
      // and nothing is promised for it. From then on nobody bears the old primary out.
      for third in watched.replicas where third.port != successor.redis.port {
        try await eventually(within: .seconds(20), "the third server follows the new primary") {
          // A server that is made a replica of another one closes its clients' connections.
          let bench = try await StoreBench(third)
          defer { bench.connection.close() }
          return try await bench.run("HEXISTS", bucket, key.bytes).integer() == 1
        }
      }
      asker.include(["put at the new primary"])
      // Until the old primary becomes a replica, a node that asks it would be told that the key doesn't exist.
      var falseWitnesses = 0
      let old = try await StoreBench(primary.redis)
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
      #expect(during.log.contains { $0.at > resumed && $0.text.contains("that this is the primary") })

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
        $0.at > paused && $0.at < resumed + .milliseconds(200) && $0.text.contains("key store unreachable")
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
    primary.connection.close()
    try await watched.end()
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
