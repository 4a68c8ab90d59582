// What many mirrors cost one Redis: 1 to 200 of them, each of the same 100,000 keys, following 1,000 changes a second. The figure
// that matters is Redis's processor time per mirror and change: where it stays the same, it is a line, and how many nodes one
// Redis can serve is a division.

import Foundation
import KeyReplica
import KeyStore
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

enum ScaleBenchmark: Benchmark {
  static let name = "scale"
  static let summary =
    "1 to 200 mirrors of 100,000 keys at 1,000 changes a second: Redis's processor per mirror and change"

  private static let keys = 100_000
  private static let perSecond = 1_000
  private static let seconds = 4

  static func run(rounds: Int) async throws -> Report {
    let store = try await PublishedStore.make(keys: keys)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let connection = try await RedisConnection.connect(to: store.redis.tcpEndpoint, on: group.next()).get()
    let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
    let counts = [1, 10, 50, 100, 200]
    var figures: [Int: [Costs]] = [:]
    var changed = 0
    for _ in 0..<rounds {
      for count in counts {
        let costs = try await follow(count, store.redis, group, writer, from: &changed)
        figures[count, default: []].append(costs)
      }
    }
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "mirrors following \(perSecond) changes a second", unit: "Redis's processor",
      notes: [
        "all mirrors are in the benchmark's own process; reached: changes a second that were made in fact, and followed by all",
        "the writer's script is in Redis's share of a second, not in the time per mirror and change",
      ])
    for count in counts {
      let costs = figures[count]!
      table.add(
        "\(count)",
        ("ns per mirror and change", Figure(costs.map(\.redisPerMirrorAndChange))),
        ("share of a second", Figure(costs.map(\.redisShare))), ("reached", Figure(costs.map(\.reached))),
        ("last change to all mirrors, ms", Figure(costs.map(\.lag))))
    }
    report.tables.append(table)
    connection.close()
    try await connection.closed.get()
    try await store.remove()
    try await group.shutdownGracefully()
    return report
  }

  private struct Costs {
    var redisPerMirrorAndChange: Double
    var redisShare: Double
    var reached: Double
    var lag: Double
  }

  private static func follow(
    _ count: Int, _ redis: RedisServer, _ group: MultiThreadedEventLoopGroup, _ writer: KeyStoreWriter,
    from changed: inout Int
  ) async throws -> Costs {
    let alone = try await change(writer, redis, from: &changed)
    let mirrors = (0..<count).map { ReplicaDriver.mirror(of: redis, named: "bench-\($0)", on: group.next()) }
    for mirror in mirrors { try await mirror.completed(keys: keys) }
    let before = (Machine.now(), try Machine.processTime(of: redis.pid!))
    let version = try await change(writer, redis, from: &changed).version
    let written = Machine.now()
    for mirror in mirrors {
      while try await mirror.status().get().version < version {
        guard Machine.now() - written < 60_000_000_000 else { throw CannotMeasure("a mirror never caught up") }
        try await Task.sleep(for: .milliseconds(1))
      }
    }
    let (ended, spent) = (Machine.now(), try Machine.processTime(of: redis.pid!) - before.1)
    for mirror in mirrors { mirror.stop() }
    let changes = Double(perSecond * seconds)
    return Costs(
      redisPerMirrorAndChange: max(0, Double(spent - alone.redis)) / changes / Double(count),
      redisShare: Double(spent) / Double(ended - before.0),
      reached: changes / (Double(ended - before.0) / 1e9), lag: Double(ended - written) / 1e6)
  }

  /// Changes the accounts of known keys, ten at a time, at the pace that is asked for.
  private static func change(
    _ writer: KeyStoreWriter, _ redis: RedisServer, from changed: inout Int
  ) async throws -> (version: UInt64, redis: Int64) {
    let (began, before) = (Machine.now(), try Machine.processTime(of: redis.pid!))
    var version: UInt64 = 0
    for batch in 0..<perSecond * seconds / 10 {
      let early = began + Int64(batch) * 10_000_000_000 / Int64(perSecond) - Machine.now()
      if early > 0 { try await Task.sleep(for: .nanoseconds(early)) }
      let first = changed
      changed += 10
      let outcome = try await writer.apply(
        (first..<changed).map { number in
          // Another account with each turn through the keys, so that each edit is a change.
          let account = SampleKeys.account((number + number / keys + 1) % SampleKeys.accounts)
          return KeyEdit(key: KeyID(secret: SampleKeys.secret(number % keys)), kind: .put(account: account, .active))
        })
      guard outcome.changed == 10 else { throw CannotMeasure("a change changed nothing: \(outcome)") }
      version = outcome.version
    }
    return (version, try Machine.processTime(of: redis.pid!) - before)
  }
}
