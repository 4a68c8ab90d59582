// What many mirrors cost one Redis: 1 to 200 of them, each of the same 100,000 keys; while nothing changes, and following 1,000
// changes a second, made one by one and ten at a time. Redis's processor time is fitted to lines over the number of mirrors: what
// each costs by being there, and for each change. How many nodes one Redis can serve is a division then.
//
// All mirrors are in the benchmark's own process and share this machine with Redis, so from some number on they are late; a fit takes in
// only what kept up with the changes.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

enum ScaleBenchmark: Benchmark {
  static let name = "scale"
  static let summary = "1 to 200 mirrors at 1,000 changes a second: Redis's processor time for each mirror and change"
  static let rounds = 5

  private static let keys = 100_000
  private static let counts = [1, 10, 25, 50, 100, 200]
  private static let perSecond = 1_000
  private static let seconds = 3

  static func run(rounds: Int) async throws -> Report {
    let bench = try await ScaleRounds(keys: keys, perSecond: perSecond, seconds: seconds)
    for _ in 0..<rounds { try await bench.round(counts) }
    try await bench.end()
    var report = Report(name: name, rounds: rounds)
    for load in Load.allCases { report.tables.append(bench.table(load, counts)) }
    report.tables.append(bench.fits(counts))
    return report
  }
}

/// What happens to the store meanwhile.
private enum Load: CaseIterable {
  case none, oneByOne, tenAtATime

  var title: String {
    switch self {
    case .none: "mirrors"
    case .oneByOne: "mirrors, changes made one by one"
    case .tenAtATime: "mirrors, ten changes at a time"
    }
  }
}

/// What one load on so many mirrors came to.
private struct Cost {
  /// Of one processor.
  var redisShare: Double
  /// Changes a second.
  var reached: Double
  /// Milliseconds from the writer's answer until some mirror had the change, of a hundred changes.
  var lag: (median: Double, most: Double)
}

private final class ScaleRounds {
  private let keys: Int
  private let perSecond: Int
  private let seconds: Int
  private let store: PublishedStore
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
  private let connection: RedisConnection
  private let writer: KeyStoreWriter
  private var changed = 0
  /// By load and number of mirrors, with one for each round.
  private var costs: [Load: [Int: [Cost]]] = [:]

  init(keys: Int, perSecond: Int, seconds: Int) async throws {
    self.keys = keys
    self.perSecond = perSecond
    self.seconds = seconds
    store = try await PublishedStore.make(keys: keys)
    connection = try await RedisConnection.connect(to: store.redis.tcpEndpoint, on: group.next()).get()
    writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
  }

  func end() async throws {
    connection.close()
    try await connection.closed.get()
    try await store.remove()
    try await group.shutdownGracefully()
  }

  /// Each number of mirrors under each load. Mirrors come to those that are there, so that each reads the store once in a round.
  func round(_ counts: [Int]) async throws {
    var mirrors: [ReplicaDriver] = []
    for count in [0] + counts {
      let more = (mirrors.count..<count).map {
        ReplicaDriver.mirror(of: store.redis.tcpEndpoint, named: "bench-\($0)", on: group.next())
      }
      mirrors += more
      for mirror in more { try await mirror.completed(keys: keys) }
      for load in Load.allCases {
        costs[load, default: [:]][count, default: []].append(try await measure(load, mirrors))
      }
    }
    for mirror in mirrors { mirror.stop() }
    try await eventually("all mirrors have gone") {
      try await !self.store.redis.run("CLIENT", "LIST").string().contains("name=bench-")
    }
  }

  private func measure(_ load: Load, _ mirrors: [ReplicaDriver]) async throws -> Cost {
    let (began, before) = (Machine.now(), try Machine.processTime(of: store.redis.pid!))
    var lags: [Double] = []
    switch load {
    case .none: try await Task.sleep(for: .seconds(seconds))
    case .oneByOne: lags = try await change(1, mirrors)
    case .tenAtATime: lags = try await change(10, mirrors)
    }
    let took = Double(Machine.now() - began)
    let spent = Double(try Machine.processTime(of: store.redis.pid!) - before)
    lags.sort()
    return Cost(
      redisShare: spent / took, reached: load == .none ? 0 : Double(perSecond * seconds) / (took / 1e9),
      lag: lags.isEmpty ? (0, 0) : (lags.quantile(0.5), lags[lags.count - 1]))
  }

  /// Changes the accounts of known keys at the pace that is asked for, if the store can keep it up, and returns when all mirrors know
  /// of all changes.
  /// - Returns: The milliseconds that some mirror took to know of one of them, by turns.
  private func change(_ batch: Int, _ mirrors: [ReplicaDriver]) async throws -> [Double] {
    let began = Machine.now()
    // One at a time, so that asking isn't a load of its own.
    var asking: Task<Double, any Error>?
    var lags: [Double] = []
    var version: UInt64 = 0
    let batches = perSecond * seconds / batch
    for number in 0..<batches {
      let early = began + Int64(number) * Int64(batch) * 1_000_000_000 / Int64(perSecond) - Machine.now()
      if early > 0 { try await Task.sleep(for: .nanoseconds(early)) }
      let first = changed
      changed += batch
      let outcome = try await writer.apply(
        (first..<changed).map { number in
          // Another account with each turn through the keys, so that each edit is a change.
          let account = SampleKeys.account((number + number / keys + 1) % SampleKeys.accounts)
          return KeyEdit(
            key: KeyID(secret: SampleKeys.secret(number % keys)), kind: .put(account: account, .active), allowing: .move
          )
        })
      guard outcome.changed == batch else { throw CannotMeasure("a change changed nothing: \(outcome)") }
      version = outcome.version
      if !mirrors.isEmpty, number.isMultiple(of: batches / 100) {
        if let asking { lags.append(try await asking.value) }
        let (mirror, answered) = (mirrors[number % mirrors.count], Machine.now())
        asking = Task { [version] in try await mirror.followed(to: version, since: answered) }
      }
    }
    if let asking { lags.append(try await asking.value) }
    for mirror in mirrors { _ = try await mirror.followed(to: version, since: Machine.now()) }
    return lags
  }

  // MARK: What came of it

  func table(_ load: Load, _ counts: [Int]) -> Report.Table {
    var table = Report.Table(
      load.title, unit: load == .none ? "at rest" : "\(perSecond) a second",
      notes: load == .none
        ? [] : ["reached: changes a second in fact, followed by all mirrors; the writer's script is in Redis's share"])
    for count in [0] + counts {
      let costs = costs[load]![count]!
      var figures = [("Redis, % of a processor", Figure(costs.map { 100 * $0.redisShare }))]
      if load != .none {
        figures += [
          ("reached", Figure(costs.map(\.reached))), ("known median, ms", Figure(costs.map(\.lag.median))),
          ("at most, ms", Figure(costs.map(\.lag.most))),
        ]
      }
      table.add("\(count)", figures)
    }
    return table
  }

  /// The lines.
  func fits(_ counts: [Int]) -> Report.Table {
    var table = Report.Table(
      "Redis's processor time by mirrors", unit: "as a line",
      notes: [
        "each change: beyond what a mirror costs when nothing changes",
        "fits: the share of what differs that the line explains (R²); 1 is a line",
        "numbers of mirrors at which less than 98% of the changes were reached are left out",
      ])
    let rounds = costs[.none]![0]!.count
    let idle = (0..<rounds).compactMap { line(.none, counts, round: $0) }
    guard idle.count == rounds else { return table }
    table.add(
      "a mirror, a second", ("µs", Figure(idle.map { $0.slope * 1e6 })), ("fits", Figure(idle.map(\.fit))),
      ("up to", Figure(idle.map(\.reach))))
    for (title, load) in [
      ("a mirror, each change one by one", Load.oneByOne), ("a mirror, each of ten changes", .tenAtATime),
    ] {
      let lines = (0..<rounds).compactMap { line(load, counts, round: $0) }
      guard lines.count == rounds else { continue }
      let each = zip(lines, idle).map { ($0.slope - $1.slope) * 1e6 / Double(perSecond) }
      table.add(title, ("µs", Figure(each)), ("fits", Figure(lines.map(\.fit))), ("up to", Figure(lines.map(\.reach))))
    }
    return table
  }

  /// By least squares; nil where too few numbers of mirrors kept up.
  private func line(_ load: Load, _ counts: [Int], round: Int) -> (slope: Double, fit: Double, reach: Double)? {
    let points = ([0] + counts).compactMap { count -> (x: Double, y: Double)? in
      let cost = costs[load]![count]![round]
      guard load == .none || cost.reached >= 0.98 * Double(perSecond) else { return nil }
      return (Double(count), cost.redisShare)
    }
    guard points.count > 2 else { return nil }
    let size = Double(points.count)
    let (meanX, meanY) = (points.map(\.x).reduce(0, +) / size, points.map(\.y).reduce(0, +) / size)
    let squareX = points.map { ($0.x - meanX) * ($0.x - meanX) }.reduce(0, +)
    let squareY = points.map { ($0.y - meanY) * ($0.y - meanY) }.reduce(0, +)
    let product = points.map { ($0.x - meanX) * ($0.y - meanY) }.reduce(0, +)
    return (product / squareX, product * product / (squareX * squareY), points[points.count - 1].x)
  }
}

extension ReplicaDriver {
  /// - Returns: The milliseconds until the mirror had this version.
  fileprivate func followed(to version: UInt64, since moment: Int64) async throws -> Double {
    while try await status().get().version < version {
      guard Machine.now() - moment < 60_000_000_000 else { throw CannotMeasure("a mirror never caught up") }
    }
    return Double(Machine.now() - moment) / 1e6
  }
}
