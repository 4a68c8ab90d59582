// From an admitted payload to Redis's answer, on one event loop: what an ingest node does for each payload once its key is admitted and
// its body has come, beside a blocking socket that sends commands which were encoded beforehand.
//
// A closed loop, as connections are: so many payloads are on their way, and each answer brings the next one. The processor time is
// the event loop's thread's own, system calls included; Redis's comes on top.

import Foundation
import Hiredis
import IngestQueue
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

enum HandOverBenchmark: Benchmark {
  static let name = "hand-over"
  static let summary = "payload to Redis's answer, by how many are on their way, beside a bare socket"

  private static let payloads = 60_000
  private static let size = 500

  static func run(rounds: Int) async throws -> Report {
    let redis = try await RedisServer.start()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let client = RedisClient(endpoint: redis.endpoint, on: group.next(), logger: .silent)
    let connection = try await client.connection(within: .seconds(5)).get()
    let producer = QueueProducer(client: client)
    let path = redis.folder.path("redis.sock")
    var figures: [String: (clock: [Double], processor: [Double], batch: [Double])] = [:]
    for _ in 0..<rounds {
      for width in [1, 16, 64, 256, 1_024] {
        try await measure("Sluice, \(width) on their way", &figures) {
          try await push(producer, on: group.next(), width: width)
        }
        _ = try await connection.execute(RedisCommand("FLUSHALL")).orThrow()
        try await measure("bare socket, \(width) in each LPUSH", &figures) {
          try await NIOThreadPool.singleton.runIfActive { try bare(path, width: width) }
        }
        _ = try await connection.execute(RedisCommand("FLUSHALL")).orThrow()
      }
    }
    try await client.shutDown().get()
    try await group.shutdownGracefully()
    try await redis.kill9()
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "\(size) bytes to a list", unit: "µs a payload",
      notes: ["processor: of the thread that pushes; batch: payloads in each write, on average"])
    for (name, figure) in figures.sorted(by: { $0.key.localizedStandardCompare($1.key) == .orderedAscending }) {
      table.add(
        name, ("clock", Figure(figure.clock)), ("processor", Figure(figure.processor)), ("batch", Figure(figure.batch)))
    }
    report.tables.append(table)
    return report
  }

  private struct Cost: Sendable {
    var clock: Int64
    var processor: Int64
    var batches: Int
  }

  private static func measure(
    _ name: String, _ figures: inout [String: (clock: [Double], processor: [Double], batch: [Double])],
    _ body: () async throws -> Cost
  ) async throws {
    let cost = try await body()
    let each = 1_000 * Double(payloads)
    figures[name, default: ([], [], [])].clock.append(Double(cost.clock) / each)
    figures[name]?.processor.append(Double(cost.processor) / each)
    figures[name]?.batch.append(Double(payloads) / Double(cost.batches))
  }

  private static func push(_ producer: QueueProducer, on loop: any EventLoop, width: Int) async throws -> Cost {
    try await loop.flatSubmit { Pusher(producer, on: loop, width: width).run() }.get()
  }

  /// What keeps so many payloads on their way. Lives on the event loop.
  private final class Pusher {
    private let producer: QueueProducer
    private let loop: any EventLoop
    private let width: Int
    private let payload = ByteBuffer(repeating: UInt8(ascii: "x"), count: size)
    private let done: EventLoopPromise<Cost>
    private var (begun, answered) = (0, 0)
    private var generator = SeededGenerator(seed: 1)
    private let before: (clock: Int64, processor: Int64, batches: Int)

    init(_ producer: QueueProducer, on loop: any EventLoop, width: Int) {
      self.producer = producer
      self.loop = loop
      self.width = width
      done = loop.makePromise()
      before = (Machine.now(), Machine.threadTime(), producer.counters.batches)
    }

    func run() -> EventLoopFuture<Cost> {
      for _ in 0..<width { next() }
      return done.futureResult
    }

    private func next() {
      guard begun < payloads else { return }
      begun += 1
      let now = Int64(Date().timeIntervalSince1970 * 1_000)
      let header = EnvelopeHeader(
        id: EnvelopeID(time: now, using: &generator), account: SampleKeys.account(begun % SampleKeys.accounts),
        key: "9f86d081884c7d65", receivedAt: now, contentType: "application/json", path: "/v1/events", node: "node-1")
      producer.submit(header, payload: payload).assumeIsolated().whenComplete { result in
        if case .failure(let error) = result { return self.done.fail(error) }
        self.answered += 1
        if self.answered < payloads { return self.next() }
        let producer = self.producer
        self.done.succeed(
          Cost(
            clock: Machine.now() - self.before.clock, processor: Machine.threadTime() - self.before.processor,
            batches: producer.counters.batches - self.before.batches))
      }
    }
  }

  private static func bare(_ path: String, width: Int) throws -> Cost {
    let socket = try BlockingRedis(BlockingSocket(path: path))
    let element = [UInt8](repeating: UInt8(ascii: "x"), count: size + 200)
    let command = BlockingRedis.encoded(
      [Array("LPUSH".utf8), Array("list".utf8)] + Array(repeating: element, count: width))
    let batches = payloads / width
    let before = (Machine.now(), Machine.threadTime())
    for _ in 0..<batches { try socket.exchange(command, lines: 1) }
    return Cost(clock: Machine.now() - before.0, processor: Machine.threadTime() - before.1, batches: batches)
  }
}
