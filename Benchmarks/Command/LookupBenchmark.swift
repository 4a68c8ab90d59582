// From a key's bytes to a verdict, at a million keys, by one thread: just what an ingest node does for each request that it admits
// (KeyID and ReplicaDriver.admits), beside a Set<String> in memory and a Redis on the same machine.
//
// Keys come in random order, so that what is looked up is in no cache; the keys themselves are, as they are in a node, which has just
// read them from a socket. Hence the blocks: some keys are made ready, and then looked up against the clock.

import Foundation
import KeyReplica
import KeyStore
import Logging
import NIOPosix
import RedisFixture
import Synchronization

enum LookupBenchmark: Benchmark {
  static let name = "lookup"
  static let summary = "key to verdict at a million keys, beside Set<String> and Redis; memory of the table"

  private static let keyCount = 1_000_000
  private static let blockSize = 256
  private static let changesPerSecond = 10_000

  static func run(rounds: Int) async throws -> Report {
    var report = Report(name: name, rounds: rounds)
    let table = SampleKeys.table(count: keyCount)
    let redis = try await RedisServer.start()
    try fill(redis)
    let driver = try await admittingDriver(of: table, redis: redis)
    let bench = LookupRounds(driver: driver, table: table, redis: redis, keyCount: keyCount, blockSize: blockSize)
    let (tables, goals) = try await NIOThreadPool.singleton.runIfActive {
      try bench.run(rounds: rounds, changesPerSecond: changesPerSecond)
    }
    report.tables += tables
    report.goals += goals
    driver.stop()
    try await redis.kill9()
    // Afterwards: what it leaves of the heap isn't what a node's looks like.
    report.tables.append(try memory(keys: keyCount))
    report.tables.append(try memory(keys: 10 * keyCount))
    return report
  }

  /// The peer's million keys.
  private static func fill(_ redis: RedisServer) throws {
    let connection = try BlockingRedis(BlockingSocket(port: redis.port))
    for start in stride(from: 0, to: keyCount, by: 1000) {
      let commands = (start..<start + 1000).flatMap {
        BlockingRedis.encoded([Array("SET".utf8), SampleKeys.secret($0), Array("a".utf8)])
      }
      try connection.exchange(commands, lines: 1000)
    }
  }

  /// A driver as a node has it; its Redis holds no key store, so nothing but the restored keys is ever in its table.
  private static func admittingDriver(of table: KeyTable, redis: RedisServer) async throws -> ReplicaDriver {
    let image = MirrorImage(source: "bench", heardAt: Date().timeIntervalSince1970, announced: 0, table: table)
    let driver = ReplicaDriver(
      endpoint: redis.endpoint, layout: StoreLayout(), restoring: image, name: "bench",
      on: MultiThreadedEventLoopGroup.singleton.any(), logger: .silent)
    driver.start()
    try await eventually("the driver admits") { driver.admits(KeyID(secret: SampleKeys.secret(0))) != nil }
    return driver
  }

  /// What the table takes. One account, so that nothing but the table is counted.
  private static func memory(keys: Int) throws -> Report.Table {
    var result = Report.Table(
      "memory of \(keys) keys", unit: "bytes a key",
      notes: ["allocated: by the allocator's count, its rounding included; resident: by the system's"])
    let (allocated, resident) = (Machine.allocatedBytes(), try Machine.residentBytes())
    var table: KeyTable? = SampleKeys.table(count: keys, accounts: 1)
    func add(_ how: String, since allocated: Int, _ resident: Int) throws {
      result.add(
        how, ("allocated", Figure([Double(Machine.allocatedBytes() - allocated) / Double(keys)])),
        ("resident", Figure([Double(try Machine.residentBytes() - resident) / Double(keys)])))
    }
    try add("key by key", since: allocated, resident)
    var bytes: [UInt8]? = MirrorImage(source: "bench", heardAt: 0, announced: 0, table: table!).encoded()
    table = nil
    Machine.trimAllocator()
    let (before, residentBefore) = (Machine.allocatedBytes(), try Machine.residentBytes())
    let restored = try MirrorImage(decoding: bytes!, source: "bench", bucketCount: StoreLayout.bucketCount)
    try add("restored", since: before, residentBefore)
    bytes = nil
    precondition(restored.table.count == keys)
    return result
  }
}

/// The keys that benchmarks are about: 40 bytes each, as the ones that are handed out to people.
enum SampleKeys {
  static let accounts = 20_000

  static func secret(_ number: Int) -> [UInt8] {
    // Spread by multiplication with odd numbers, so that all are different and none can be told from its neighbour.
    let high = String(UInt64(number) &* 0x9E37_79B9_7F4A_7C15, radix: 16)
    let low = String(UInt64(number) &* 0xD6E8_FEB8_6659_FD93 &+ 1, radix: 16)
    func padded(_ digits: String) -> String { String(repeating: "0", count: 16 - digits.count) + digits }
    return Array("sk_live_\(padded(high))\(padded(low))".utf8)
  }

  static func table(count: Int, accounts: Int = accounts) -> KeyTable {
    let table = KeyTable(bucketCount: StoreLayout.bucketCount)
    for number in 0..<count {
      table.put(
        KeyID(secret: secret(number)),
        KeyRecord(state: .active, since: 1_763_683_200, account: account(number % accounts)))
    }
    return table
  }

  static func account(_ number: Int) -> String { "account-\(number)" }
}

/// What is measured in turn.
private struct LookupRounds {
  let driver: ReplicaDriver
  let table: KeyTable
  let redis: RedisServer
  let keyCount: Int
  let blockSize: Int

  private static let blocks = 800

  struct Costs {
    /// Nanoseconds a verdict: on the clock, and of the thread's processor time.
    var wall: [Double] = []
    var processor: [Double] = []
  }

  func run(rounds: Int, changesPerSecond: Int) throws -> ([Report.Table], [Goal]) {
    let unix = try BlockingRedis(BlockingSocket(path: redis.folder.path("redis.sock")))
    let tcp = try BlockingRedis(BlockingSocket(port: redis.port))
    let set = Set((0..<keyCount).map { String(decoding: SampleKeys.secret($0), as: UTF8.self) })
    var generator = SeededGenerator(seed: 1)
    func hit() -> Int { Int.random(in: 0..<keyCount, using: &generator) }
    func miss() -> Int { keyCount + Int.random(in: 0..<keyCount, using: &generator) }
    func string(_ number: Int) -> String { String(decoding: SampleKeys.secret(number), as: UTF8.self) }
    func get(_ number: Int) -> [UInt8] { BlockingRedis.encoded([Array("GET".utf8), SampleKeys.secret(number)]) }

    let names = [
      "Sluice, key active", "Sluice, key unknown (no verdict yet)", "of it: SHA-256 of the key",
      "of it: the rest, key active",
      "Set<String>, key in it", "Set<String>, key not in it", "Redis GET, Unix socket", "Redis GET, TCP loopback",
      "Redis GET, Unix socket, 100 at a time",
    ]
    var costs = [String: Costs]()
    var single: [String: [[Double]]] = [:]
    var rates: [Double] = []
    for _ in 0..<rounds {
      measure(names[0], &costs, prepare: { SampleKeys.secret(hit()) }) { driver.admits(KeyID(secret: $0)) != nil }
      measure(names[1], &costs, prepare: { SampleKeys.secret(miss()) }) { driver.admits(KeyID(secret: $0)) == nil }
      measure(names[2], &costs, prepare: { SampleKeys.secret(hit()) }) { KeyID(secret: $0).bucket(of: 2) < 2 }
      measure(names[3], &costs, prepare: { KeyID(secret: SampleKeys.secret(hit())) }) { driver.admits($0) != nil }
      measure(names[4], &costs, prepare: { string(hit()) }) { set.contains($0) }
      measure(names[5], &costs, prepare: { string(miss()) }) { !set.contains($0) }
      try measure(names[6], &costs, blocks: 20, prepare: { get(hit()) }) {
        try unix.exchange($0, lines: 2)
        return true
      }
      try measure(names[7], &costs, blocks: 20, prepare: { get(hit()) }) {
        try tcp.exchange($0, lines: 2)
        return true
      }
      try measure(names[8], &costs, blocks: 4, size: 50, each: 100, prepare: { (0..<100).flatMap { _ in get(hit()) } })
      {
        try unix.exchange($0, lines: 200)
        return true
      }
      single["quiet", default: []].append(eachByItself { SampleKeys.secret(hit()) })
      let writer = Changes(table: table, keyCount: keyCount, perSecond: changesPerSecond)
      writer.start()
      single["changing", default: []].append(eachByItself { SampleKeys.secret(hit()) })
      rates.append(writer.stop())
    }

    var first = Report.Table(
      "verdict at \(keyCount) keys", unit: "ns",
      notes: ["processor: of the thread that asks; Redis's own time comes on top"])
    for name in names {
      first.add(name, ("clock", Figure(costs[name]!.wall)), ("processor", Figure(costs[name]!.processor)))
    }
    var second = Report.Table(
      "one verdict by itself, key active", unit: "ns",
      notes: [
        "the time that reading the clock takes is taken off",
        "changes applied by another thread: \(Figure(rates)) a second",
      ])
    for (title, key) in [("no changes", "quiet"), ("\(changesPerSecond) changes a second", "changing")] {
      let sorted = single[key]!.map { $0.sorted() }
      func figure(_ share: Double) -> Figure { Figure(sorted.map { $0.quantile(share) }) }
      second.add(
        title, ("median", figure(0.5)), ("p99", figure(0.99)), ("p99.9", figure(0.999)), ("p99.99", figure(0.9999)))
    }
    let tails = ["changing", "quiet"].map { key in single[key]!.map { $0.sorted().quantile(0.999) } }
    return (
      [first, second],
      [
        Goal("verdict, key active", costs[names[0]]!.wall, unit: "ns", atMost: 350),
        Goal("p99.9 with \(changesPerSecond) changes a second, to none", tails[0], to: tails[1], atMost: 2),
      ]
    )
  }

  /// - Parameters:
  ///   - each: How many verdicts one call stands for.
  ///   - body: Whether the answer is the right one.
  @inline(__always) private func measure<Key>(
    _ name: String, _ costs: inout [String: Costs], blocks: Int = Self.blocks, size: Int? = nil, each: Int = 1,
    prepare: () -> Key, _ body: (Key) throws -> Bool
  ) rethrows {
    let size = size ?? blockSize
    var (wall, processor, right) = (Int64(0), Int64(0), 0)
    for _ in 0..<blocks {
      let keys = (0..<size).map { _ in prepare() }
      let (began, beganProcessor) = (Machine.now(), Machine.threadTime())
      for key in keys where try body(key) { right += 1 }
      processor += Machine.threadTime() - beganProcessor
      wall += Machine.now() - began
    }
    // A benchmark of wrong answers measures nothing.
    precondition(right == blocks * size, "\(name): \(right) of \(blocks * size) answers were right")
    let verdicts = Double(blocks * size * each)
    costs[name, default: Costs()].wall.append(Double(wall) / verdicts)
    costs[name, default: Costs()].processor.append(Double(processor) / verdicts)
  }

  /// The time of each verdict by itself.
  private func eachByItself(prepare: () -> [UInt8]) -> [Double] {
    var clock: [Double] = []
    for _ in 0..<1000 {
      let began = Machine.now()
      clock.append(Double(Machine.now() - began))
    }
    let reading = clock.sorted().quantile(0.5)
    var times: [Double] = []
    times.reserveCapacity(Self.blocks * blockSize)
    for _ in 0..<Self.blocks {
      let keys = (0..<blockSize).map { _ in prepare() }
      var before = Machine.now()
      for key in keys {
        let admitted = driver.admits(KeyID(secret: key)) != nil
        let after = Machine.now()
        precondition(admitted, "an active key wasn't admitted")
        times.append(max(0, Double(after - before) - reading))
        before = after
      }
    }
    return times
  }
}

/// A thread that changes keys at a steady pace, as the mirror's does.
private final class Changes: Sendable {
  private let stopping = Atomic(false)
  private let made = Mutex<(changes: Int, nanoseconds: Int64)?>(nil)
  private let table: KeyTable
  private let keyCount: Int
  private let perSecond: Int

  init(table: KeyTable, keyCount: Int, perSecond: Int) {
    self.table = table
    self.keyCount = keyCount
    self.perSecond = perSecond
  }

  func start() {
    Thread.detachNewThread { [self] in
      let began = Machine.now()
      var count = 0
      while !stopping.load(ordering: .relaxed) {
        while Double(count) < Double(Machine.now() - began) * Double(perSecond) / 1e9 {
          // One in ten is a new key.
          let number = count % 10 == 0 ? Int.random(in: 10 * keyCount..<1000 * keyCount) : Int.random(in: 0..<keyCount)
          let account = SampleKeys.account(Int.random(in: 0..<SampleKeys.accounts))
          table.put(
            KeyID(secret: SampleKeys.secret(number)), KeyRecord(state: .active, since: Int64(count), account: account))
          count += 1
        }
        usleep(1000)
      }
      made.withLock { $0 = (count, Machine.now() - began) }
    }
  }

  /// Ends, and returns how many changes a second were made.
  func stop() -> Double {
    stopping.store(true, ordering: .relaxed)
    while true {
      if let made = made.withLock({ $0 }) { return Double(made.changes) / Double(made.nanoseconds) * 1e9 }
      usleep(1000)
    }
  }
}
