// How long after the publisher's answer a change counts, at a thousand changes a second: every other one puts a new key, every other
// one revokes it. Measured at the mirror, by whether it admits the key, and at a node, by what it answers to pushes: 202 after a put, 403 after a
// revocation. A push that comes in between isn't decided wrongly: what isn't admitted is asked of the store, so a push with a new
// key is accepted, after that one question; this is how long it takes.
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
  static let summary = "from the publisher's answer to a node's, 1,000 changes a second, beside a bare XREAD"

  private static let keys = 100_000
  private static let perSecond = 1_000
  private static let seconds = 5

  static func run(rounds: Int) async throws -> Report {
    let store = try await PublishedStore.make(keys: keys)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let connection = try await RedisConnection.connect(to: store.redis.tcpEndpoint, on: group.next()).get()
    let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
    let driver = ReplicaDriver.mirror(of: store.redis.tcpEndpoint, on: group.next())
    try await driver.completed(keys: keys)
    let node = try await NodeProcess.start(store.redis)
    let pushes = try BlockingPushes(port: node.port)

    var mirror: [Series] = []
    var answers: [Series] = []
    var floor: [Series] = []
    var next = keys
    for _ in 0..<rounds {
      mirror.append(
        try await changes(writer, from: &next) { key, isActive in
          (driver.admits(KeyID(secret: key)) != nil) == isActive
        })
      answers.append(
        try await changes(writer, from: &next) { key, isActive in
          let status = try pushes.push(key: key)
          // In between, a revoked key may still be admitted. Nothing else may ever come.
          guard status == 202 || status == 403 && !isActive else {
            throw CannotMeasure("an \(isActive ? "active" : "revoked") key was answered \(status)")
          }
          return (status == 202) == isActive
        })
      floor.append(try await plainReads(store.redis))
    }
    try await node.stop()
    driver.stop()
    connection.close()
    try await connection.closed.get()
    try await store.remove()
    try await group.shutdownGracefully()

    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "from the writer's answer to its being known, \(perSecond) changes a second", unit: "µs",
      notes: [
        "\(perSecond * seconds) changes a round, none begun before the one before it was known; reached: changes a second in fact",
        "a node's answer contains the push itself, and for a revoked key the proof",
      ])
    for (title, all) in [
      ("put or revoked → a mirror", mirror), ("put or revoked → a node's answer to a push", answers),
      ("XADD → a blocking XREAD, bare sockets", floor),
    ] {
      func figure(_ share: Double) -> Figure { Figure(all.map { $0.quantile(share) }) }
      table.add(
        title, ("median", figure(0.5)), ("p99", figure(0.99)), ("p99.9", figure(0.999)),
        ("reached", Figure(all.map(\.perSecond))))
    }
    report.tables.append(table)
    report.goals = [
      Goal("p99 to a mirror", mirror.map { $0.quantile(0.99) / 1e3 }, unit: "ms", atMost: 2),
      Goal("p99 to a node's answer", answers.map { $0.quantile(0.99) / 1e3 }, unit: "ms", atMost: 2),
    ]
    return report
  }

  /// What one round took, in microseconds.
  private struct Series {
    private let sorted: [Double]
    let perSecond: Double

    init(_ times: [Double], since began: Int64) {
      sorted = times.sorted()
      perSecond = Double(times.count) / (Double(Machine.now() - began) / 1e9)
    }

    func quantile(_ share: Double) -> Double { sorted.quantile(share) }
  }

  /// - Parameter isKnown: Asked again and again after each change.
  private static func changes(
    _ writer: KeyStoreWriter, from next: inout Int, isKnown: (_ key: [UInt8], _ isActive: Bool) throws -> Bool
  ) async throws -> Series {
    var times: [Double] = []
    let began = Machine.now()
    for number in 0..<perSecond * seconds {
      try await pace(began, number)
      // Each key is put once, and revoked by the change after it.
      let key = SampleKeys.secret(next)
      let puts = number.isMultiple(of: 2)
      if !puts { next += 1 }
      let outcome = try await writer.apply([
        // So many revocations would be taken for a mistake if nobody had agreed to them.
        KeyEdit(
          key: KeyID(secret: key), kind: puts ? .put(account: SampleKeys.account(0), .active) : .setState(.revoked),
          allowing: .end)
      ])
      let answered = Machine.now()
      guard outcome.changed == 1 else { throw CannotMeasure("a change changed nothing: \(outcome)") }
      while try !isKnown(key, puts) {
        guard Machine.now() - answered < 5_000_000_000 else { throw CannotMeasure("a change never came") }
        sched_yield()
      }
      times.append(Double(Machine.now() - answered) / 1e3)
    }
    return Series(times, since: began)
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

  private static func plainReads(_ redis: RedisServer) async throws -> Series {
    let port = redis.port
    let stream = "bare-\(UInt64.random(in: .min ... .max))"
    let received = Received()
    async let reading: Void = NIOThreadPool.singleton.runIfActive {
      let reader = try BlockingSocket(port: port)
      // The entries' ids are the writer's numbers, so none is missed, and each reply is one: the writer waits for it.
      for number in 1...perSecond * seconds {
        try reader.send(command("XREAD BLOCK 5000 STREAMS \(stream) \(number - 1)-0"))
        guard try reader.receive().starts(with: Array("*1".utf8)) else { throw CannotMeasure("no entry came") }
        received.count.store(number, ordering: .releasing)
      }
    }
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
    let series = Series(times, since: began)
    try await reading
    return series
  }

  private static func command(_ text: String) -> [UInt8] {
    BlockingRedis.encoded(text.split(separator: " ").map { Array($0.utf8) })
  }
}
