// How long after the publisher's answer a node's mirror knows of a change, at a thousand changes a second: every other one puts a
// new key, every other one revokes it. A request that comes in between isn't decided wrongly, since what isn't admitted is asked
// of the store; this is how long it may have to wait for that.
//
// Beside it the floor: a plain blocking XREAD on a stream of its own, and an XADD, by bare sockets.

import Foundation
import KeyReplica
import KeyStore
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Synchronization

enum PropagateBenchmark: Benchmark {
  static let name = "propagate"
  static let summary = "from the publisher's answer to a node's mirror, 1,000 changes a second, beside a bare XREAD"

  private static let keys = 100_000
  private static let perSecond = 1_000
  private static let seconds = 5

  static func run(rounds: Int) async throws -> Report {
    let store = try await PublishedStore.make(keys: keys)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let driver = ReplicaDriver.mirror(of: store.redis, on: group.next())
    try await driver.completed(keys: keys)
    let connection = try await RedisConnection.connect(to: store.redis.tcpEndpoint, on: group.next()).get()
    let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())

    var ours: [[Double]] = []
    var floor: [[Double]] = []
    for round in 0..<rounds {
      ours.append(try await changes(driver, writer, round: round).sorted())
      floor.append(try await plainReads(store.redis).sorted())
    }
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "from the writer's answer to its being known, \(perSecond) changes a second", unit: "µs",
      notes: ["\(perSecond * seconds) changes a round; 0 where it was known before the writer had heard of it"])
    for (title, all) in [("Sluice: put or revoked → mirror", ours), ("XADD → a blocking XREAD, bare sockets", floor)] {
      func figure(_ share: Double) -> Figure { Figure(all.map { $0.quantile(share) }) }
      table.add(title, ("median", figure(0.5)), ("p99", figure(0.99)), ("p99.9", figure(0.999)))
    }
    report.tables.append(table)
    driver.stop()
    connection.close()
    try await connection.closed.get()
    try await store.remove()
    try await group.shutdownGracefully()
    return report
  }

  private static func changes(
    _ driver: ReplicaDriver, _ writer: KeyStoreWriter, round: Int
  ) async throws -> [Double] {
    var times: [Double] = []
    let began = Machine.now()
    for number in 0..<perSecond * seconds {
      try await pace(began, number)
      // Each key is put once, and revoked by the change after it.
      let key = KeyID(secret: SampleKeys.secret(keys + round * perSecond * seconds + number / 2))
      let puts = number.isMultiple(of: 2)
      let outcome = try await writer.apply([
        KeyEdit(key: key, kind: puts ? .put(account: SampleKeys.account(0), .active) : .setState(.revoked))
      ])
      let answered = Machine.now()
      guard outcome.changed == 1 else { throw CannotMeasure("a change changed nothing: \(outcome)") }
      while (driver.admits(key) != nil) != puts {
        guard Machine.now() - answered < 5_000_000_000 else { throw CannotMeasure("a change never came") }
        sched_yield()
      }
      times.append(Double(Machine.now() - answered) / 1e3)
    }
    return times
  }

  /// Until it is a change's turn. A sleep's inaccuracy doesn't add up.
  private static func pace(_ began: Int64, _ number: Int) async throws {
    let due = began + Int64(number) * 1_000_000_000 / Int64(perSecond)
    let early = due - Machine.now()
    if early > 0 { try await Task.sleep(for: .nanoseconds(early)) }
  }

  /// How many entries the plain reader has got.
  private final class Received: Sendable {
    let count = Atomic(0)
  }

  private static func plainReads(_ redis: RedisServer) async throws -> [Double] {
    let port = redis.port
    let stream = "bare-\(UInt64.random(in: .min ... .max))"
    let received = Received()
    return try await withThrowingTaskGroup(of: [Double].self) { group in
      group.addTask {
        try await NIOThreadPool.singleton.runIfActive {
          let reader = try BlockingSocket(port: port)
          // The entries' ids are the writer's numbers, so none is missed, and each reply is one: the writer waits for it.
          for number in 1...perSecond * seconds {
            try reader.send(command("XREAD BLOCK 5000 STREAMS \(stream) \(number - 1)-0"))
            guard try reader.receive().starts(with: Array("*1".utf8)) else { throw CannotMeasure("no entry came") }
            received.count.store(number, ordering: .releasing)
          }
          return []
        }
      }
      group.addTask {
        let writer = try BlockingRedis(BlockingSocket(port: port))
        var times: [Double] = []
        let began = Machine.now()
        for number in 1...perSecond * seconds {
          try await pace(began, number)
          try writer.exchange(command("XADD \(stream) \(number)-0 field value"), lines: 2)
          let answered = Machine.now()
          while received.count.load(ordering: .acquiring) < number {
            guard Machine.now() - answered < 5_000_000_000 else { throw CannotMeasure("an entry never came") }
            sched_yield()
          }
          times.append(Double(Machine.now() - answered) / 1e3)
        }
        return times
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }

  private static func command(_ text: String) -> [UInt8] {
    BlockingRedis.encoded(text.split(separator: " ").map { Array($0.utf8) })
  }
}
