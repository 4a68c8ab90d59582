import Foundation
import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

/// All four commands find the primary through Sentinels, and find it again after a failover under load.
@Suite(.timeLimit(.minutes(3))) struct SentinelFailoverTests {
  enum Fault: String, CaseIterable, Sendable {
    /// The primary is gone.
    case killed
    /// It is held for as long as the failover takes, and then goes on to call itself primary.
    case held
  }

  /// Replication is asynchronous: what is acknowledged between the last word that the replica heard and the promotion may be lost, and
  /// this is said in Guarantees. What the replica had, and what was sent afterwards, is stored once; and all that was acknowledged is where a
  /// replica had to confirm it.
  @Test(arguments: [(Fault.killed, false), (.held, false), (.killed, true), (.held, true)])
  func `a failover is followed by everybody, and costs at most what the replica hadn't`(
    fault: Fault, isConfirmed: Bool
  ) async throws {
    let watched = try await WatchedRedis.start(replicas: 1, appendOnly: .always)
    // On a busy machine a server that is late isn't gone: a second failover would lead back to where the first one came from.
    for sentinel in watched.sentinels {
      try await sentinel.run("SENTINEL", "SET", WatchedRedis.name, "down-after-milliseconds", 1_500)
    }
    let deployment = try Deployment(redis: watched.primary, settings: ["SLUICE_REDIS": "\(watched.endpoint)"])
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1", isConfirmed ? ["--require-durability", "replicas:1"] : [])
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1", ["--lease", "2"])
    let pushes = NumberedPushes(to: node)

    let (before, moved) = try await pushes.running(lanes: 4) {
      try await pushes.goOn(for: 300)
      try await eventually("something is stored") { try !deployment.stored().isEmpty }
      let before = Set(pushes.acknowledged.map(\.number))
      // Replication is one stream: a replica that has this write has all that was written before it.
      let connection = try await RedisConnection.connected(
        to: watched.primary.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
      let confirmed = try await connection.execute([
        RedisCommand("SET", "marker", 1), RedisCommand("WAIT", 1, 5_000),
      ])
      #expect(confirmed[1] == .integer(1))
      connection.close()

      switch fault {
      case .killed: try await watched.primary.kill9()
      case .held: try await watched.primary.pause()
      }
      let successor = try await watched.promoted()
      let promoted = ContinuousClock.now
      if fault == .held { try watched.primary.resume() }
      let connected = try await becomesPrimary(successor, of: pushes, since: promoted, isConfirmed: isConfirmed) {
        // A paused or killed server returns as a replica.
        if fault == .killed { try await watched.primary.restart() }
        try await eventually(within: .seconds(30), "the old primary is a replica") {
          try await watched.primary.role() == "slave"
        }
      }
      let moved = ContinuousClock.now
      try await pushes.goOn(for: 300)
      print(
        "FAILOVER | \(fault), confirmed: \(isConfirmed) | a push is acknowledged by the new primary "
          + "\(connected - promoted) after the promotion")
      // If a replica has to confirm, one must be back first.
      #expect(connected - promoted < (isConfirmed ? .seconds(40) : .seconds(10)))

      // The publisher goes to the new primary too, and the node mirrors it.
      try await eventually(within: .seconds(30), "a put is confirmed by all") {
        let put = try await deployment.run(
          "key-publisher", ["put", "--key", "sk_new", "--account", "account-new"], expecting: nil)
        return put.status == .exited(0)
      }
      #expect(try await node.push(key: "sk_new").status == 202)
      try await eventually(within: .seconds(30), "a key that nobody has is refused, with a proof") {
        try await node.push(key: "sk_nobody").status == 401
      }
      return (before, moved)
    }

    let answered = pushes.answered
    let statuses = Dictionary(grouping: answered, by: \.status).mapValues(\.count)
    // 504 where a push was sent to the primary that died, and nobody knows whether it took it.
    #expect(Set(statuses.keys).isSubset(of: [202, 503, 504]), "\(statuses): an active key was refused")
    let after = Set(answered.filter { $0.status == 202 && $0.sentAt > moved }.map(\.number))
    let promised = before.union(after)
    try await eventually(within: .seconds(60), "what was promised is stored") {
      try Set(numbers(deployment)).isSuperset(of: promised)
    }
    try await eventually(within: .seconds(60), "sync-status says that all is well") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
    let stored = try numbers(deployment)
    #expect(Set(stored).count == stored.count, "a payload is stored twice")
    let maybe = Set(answered.filter { $0.status == 202 }.map(\.number)).subtracting(promised)
    let lost = maybe.subtracting(stored)
    if isConfirmed { #expect(lost.isEmpty, "\(lost.count) that a replica had confirmed are lost") }
    print(
      "FAILOVER | \(fault), confirmed: \(isConfirmed) | \(answered.count) pushes, \(statuses[503, default: 0]) answered 503 | "
        + "\(before.count) + \(after.count) promised and stored | of \(maybe.count) between, \(lost.count) lost"
    )
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0), "\(worker.outputs)")
    node.process.terminate()
    _ = try await node.process.waitForExit()
    try await watched.end()
  }

  /// When a push that was sent after the promotion was acknowledged by the successor: at once, or where a replica has to confirm it after
  /// there is one again.
  private func becomesPrimary(
    _ successor: RedisServer, of pushes: NumberedPushes, since promoted: ContinuousClock.Instant, isConfirmed: Bool,
    replicaReturns: () async throws -> Void
  ) async throws -> ContinuousClock.Instant {
    if isConfirmed { try await replicaReturns() }
    try await eventually(within: .seconds(30), "a push sent after the promotion is acknowledged by the new primary") {
      let names = try await successor.run("CLIENT", "LIST").string()
      return names.contains("name=node-1-push") && pushes.acknowledged.contains { $0.sentAt > promoted }
    }
    let connected = ContinuousClock.now
    if !isConfirmed { try await replicaReturns() }
    return connected
  }

  private func numbers(_ deployment: Deployment) throws -> [Int] {
    // The one of the new key has none.
    try deployment.stored().filter { $0.body != Data("{}".utf8) }.map { try NumberedPushes.number(in: $0.body) }
  }
}
