import Hiredis
import NIOCore
import NIOPosix
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

/// The bytes that Redis has counted, compared with the bytes that wait.
struct QueueBytesTests {
  // MARK: Exact

  @Test func `whatever is done with envelopes, their bytes are counted exactly`() async throws {
    var generator = SeededGenerator.announced()
    try await QueueUnderTest.with { queue in
      func worker(_ name: String) throws -> QueueConsumer {
        try queue.worker(name) {
          $0.envelopes = Int.random(in: 1...60, using: &generator)
          $0.bytes = 400_000
          // Some are larger, and buried by a claim.
          $0.largestEnvelope = 90_000
          $0.lease = .milliseconds(1)
          $0.attempts = 2
          $0.deaths = 2
          $0.reapedAtOnce = Int.random(in: 1...30, using: &generator)
        }
      }
      var workers = [try worker("one"), try worker("two")]
      #expect(try await workers[0].claimsNothing())
      var held: [(QueueConsumer, ClaimedBatch)] = []
      var number = 0
      var most: Int64 = 0
      var buried = 0
      for step in 0..<300 {
        let act = Int.random(in: 0..<12, using: &generator)
        switch act {
        case 0...3:
          let size = 1 << Int.random(in: 0...16, using: &generator)
          let count = Int.random(in: 1...(size > 4_096 ? 4 : 40), using: &generator)
          let account = "account-\(Int.random(in: 0..<5, using: &generator))"
          try await queue.pushCounted(
            number..<number + count, of: account,
            payload: ByteBuffer(repeating: 7, count: size + Int.random(in: 0..<size, using: &generator)))
          number += count
        case 4, 5:
          let consumer = workers[Int.random(in: 0...1, using: &generator)]
          let slot = Int.random(in: 0..<4, using: &generator)
          if case .batch(let batch) = try await consumer.claim(slot: slot, takesSuspects: slot == 0) {
            held.append((consumer, batch))
          }
        case 6...8:
          guard let index = held.indices.randomElement(using: &generator) else { continue }
          let (consumer, batch) = held.remove(at: index)
          let fates: [Disposition] = batch.entries.map { _ in
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: .putBack
            case 1: .setAside
            case 2: .retry(reason: "by chance", delay: .milliseconds(Int.random(in: 0...3, using: &generator)))
            case 3: .postpone(delay: .milliseconds(Int.random(in: 0...3, using: &generator)))
            case 4: .dead(reason: "by chance")
            default: .done
            }
          }
          if case .settled(let dead) = try await consumer.settle(batch, fates) { buried += dead }
        case 9:
          // A worker dies, and another life of it begins.
          let index = Int.random(in: 0...1, using: &generator)
          held.removeAll { $0.0 === workers[index] }
          workers[index] = try worker("\(workers[index].worker)")
        case 10: buried += try await workers[0].reap().dead
        default:
          let letters = DeadLetters(client: queue.client)
          var tally = DeadLetterTally()
          let limit = Int.random(in: 1...5, using: &generator)
          if Bool.random(using: &generator) {
            try await letters.requeue(DeadLetterFilter(), limit: limit, tally: &tally)
          } else {
            try await letters.discard(DeadLetterFilter(), limit: limit, tally: &tally)
          }
        }
        let (counted, recounted) = (try await queue.countedBytes(), try await queue.recountedBytes())
        guard counted == recounted else {
          Issue.record("after step \(step), act \(act): counted \(counted), there are \(recounted)")
          return
        }
        let retries = try await queue.reading().retries.all
        guard retries == recounted["later", default: 0] else {
          Issue.record("after step \(step), act \(act): \(retries) bytes by account, there are \(recounted)")
          return
        }
        most = max(most, recounted.values.reduce(0, +))
      }
      #expect(most > 100_000 && buried > 0, "hardly anything happened: this run says nothing")
      let reading = try await queue.reading()
      #expect(reading.bytes == (try await queue.recountedBytes()).values.reduce(0, +) + 16 * reading.entries)
      let recounted = try await queue.recountedBytes()
      #expect(reading.listBytes == reading.lengths.enumerated().map { recounted["\($0)", default: 0] + 16 * $1 })
    }
  }

  @Test func `of what was pushed nothing is counted that Redis refused`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.pushCounted(0..<10)
      _ = try await queue.send("CONFIG", "SET", "maxmemory", 1)
      await #expect(throws: EnqueueError.self) { try await queue.pushCounted(10..<20) }
      _ = try await queue.send("CONFIG", "SET", "maxmemory", 0)
      try await queue.send("SET", queue.layout.pending(3), "no list").ok()
      #expect(try await queue.countedBytes() == ["0": queue.bytes(of: queue.layout.pending(0))])
    }
  }

  @Test func `what was pushed is counted after a moment, also where nothing more is pushed`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<3)
      try await eventually("it is counted") { try await queue.countedBytes() == queue.recountedBytes() }
      // Much is counted at once.
      try await queue.push(3..<4, payload: ByteBuffer(repeating: 7, count: Int(PushedBytes.most)))
      try await eventually("it is counted") { try await queue.countedBytes() == queue.recountedBytes() }
    }
  }

  // MARK: Put right

  /// How a count comes to differ from what waits.
  enum Mishap: String, CaseIterable {
    case countsDeleted, olderQueue, anotherType, tooLow, tooHigh, negative, noNumber, listDeleted, listCut, laterDeleted
  }

  @Test(arguments: Mishap.allCases)
  func `a count that differs from what waits is put right`(mishap: Mishap) async throws {
    try await QueueUnderTest.with { queue in
      let (layout, worker) = (queue.layout, try queue.worker { $0.envelopes = 100 })
      #expect(try await worker.claimsNothing())
      try await queue.pushCounted(0..<100, payload: ByteBuffer(repeating: 7, count: 5_000))
      // Some are tried again later.
      let batch = try await worker.batch()
      _ = try await worker.settle(batch, batch.entries.map { _ in .retry(reason: "no", delay: .seconds(1_000)) })
      try await queue.pushCounted(100..<500, payload: ByteBuffer(repeating: 7, count: 5_000))
      #expect(try await queue.countedBytes() == queue.recountedBytes())

      let field = layout.bytes
      switch mishap {
      case .countsDeleted: _ = try await queue.send("DEL", field)
      case .olderQueue:
        _ = try await queue.send("DEL", field)
        try await queue.pushCounted(500..<510, payload: ByteBuffer(repeating: 7, count: 5_000))
      case .anotherType: try await queue.send("SET", field, "x").ok()
      case .tooLow: _ = try await queue.send("HSET", field, 0, 100, "later", 10)
      case .tooHigh: _ = try await queue.send("HSET", field, 0, 1 << 40, "later", 1 << 40)
      case .negative: _ = try await queue.send("HSET", field, 0, -(1 << 40), "later", -1)
      case .noNumber: _ = try await queue.send("HSET", field, 0, "nan", "later", "1e300")
      case .listDeleted: _ = try await queue.send("DEL", layout.pending(0))
      case .listCut: try await queue.send("LTRIM", layout.pending(0), 0, 199).ok()
      case .laterDeleted: _ = try await queue.send("DEL", layout.later)
      }
      func truth() async throws -> Int64 {
        try await queue.recountedBytes().values.reduce(0, +) + 16 * queue.reading().entries
      }
      // A reader in the meantime must not see room where there is none, nor more bytes than Redis has.
      let used = try #require(InfoFields(try await queue.send("INFO", "memory"))?["used_memory"].flatMap { Int64($0) })
      let isKnown = ![.tooLow, .negative, .noNumber].contains(mishap)
      if isKnown {
        let bytes = try await queue.reading().bytes
        #expect(Double(bytes) >= Double(try await truth()) * 0.9 && bytes <= used + (1 << 20), "\(mishap): \(bytes)")
      }
      if mishap == .listDeleted { #expect(try await queue.reading().lengths[0] == 0) }

      // A claim finds that counts are missing, and measures the lists.
      if case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: false) {
        _ = try await worker.acknowledge(batch)
      }
      if ![.tooHigh, .listCut].contains(mishap) {
        let (bytes, truth) = (try await queue.reading().bytes, try await truth())
        #expect(
          (Double(truth) * 0.9...Double(truth) * 1.4 + 1).contains(Double(bytes)), "\(mishap): \(bytes) of \(truth)")
      }
      // Once a list has been empty, its count is exact.
      while case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: false) {
        _ = try await worker.acknowledge(batch)
      }
      #expect(try await queue.countedBytes()["0"] == nil)
      try await queue.pushCounted(1_000..<1_050, payload: ByteBuffer(repeating: 7, count: 3_000))
      #expect(try await queue.countedBytes()["0"] == queue.bytes(of: layout.pending(0)))
      // The same holds for payloads that wait for a retry.
      _ = try await queue.send("DEL", layout.later)
      #expect(try await !worker.claimsNothing())
      #expect(try await queue.countedBytes()["later"] == nil)
    }
  }

  @Test func `a push with an unknown outcome counts as pushed until the list is empty`() async throws {
    try await QueueUnderTest.with { queue in
      let worker = try queue.worker()
      #expect(try await worker.claimsNothing())
      try await queue.pushCounted(0..<10)
      let client = RedisClient(
        endpoint: queue.server.endpoint, backoff: Backoff(first: .milliseconds(5), most: .milliseconds(20)),
        on: singletonLoop, logger: .silent)
      _ = try await client.connection(within: .seconds(5)).get()
      let producer = QueueProducer(client: client, limits: ProducerLimits(deadline: .milliseconds(200)))
      try await queue.server.pause()
      await #expect(throws: EnqueueError.self) {
        try await producer.submit(.numbered(10), payload: ByteBuffer(repeating: 7, count: 100_000)).get()
      }
      try queue.server.resume()
      try await eventually("it is counted") {
        try await queue.countedBytes().values.reduce(0, +) > 100_000
      }
      #expect(try await queue.countedBytes()["0"]! >= queue.bytes(of: queue.layout.pending(0)))
      _ = try await worker.acknowledge(worker.batch())
      #expect(try await worker.claimsNothing())
      #expect(try await queue.countedBytes() == [:])
      try await client.shutDown().get()
    }
  }

  @Test func `where Redis may not measure a list either, the counts begin when the lists are empty`() async throws {
    let options = RedisServerOptions { $0.users = ["default on nopass ~* &* +@all -memory|usage"] }
    try await QueueUnderTest.with(options) { queue in
      let worker = try queue.worker()
      try await queue.pushCounted(0..<10)
      _ = try await worker.acknowledge(worker.batch())
      #expect(try await worker.claimsNothing())
      try await queue.pushCounted(10..<20)
      #expect(try await queue.reading().bytes == queue.bytes(of: queue.layout.pending(0)) + 10 * 16)
    }
  }

  @Test func `a Redis that refuses to count is said, and counts again when it may`() async throws {
    let options = RedisServerOptions { $0.users = ["default on nopass ~* &* +@all"] }
    try await QueueUnderTest.with(options) { queue in
      let mark = HighMark()
      _ = try await queue.send("ACL", "SETUSER", "default", "-hincrby")
      let loop = queue.client.eventLoop
      let (client, layout) = (queue.client, queue.layout)
      let bound = try await loop.submit {
        NIOLoopBound(PushedBytes(client: client, layout: layout, deadline: .seconds(5)), eventLoop: loop)
      }.get()
      func tell(_ bytes: Int) async throws {
        try await loop.flatSubmit {
          bound.value.mark = mark
          if bytes > 0 { bound.value.add(bytes, to: 3) }
          return bound.value.tell()
        }.get()
      }
      try await tell(100)
      #expect(mark.countingProblem?.contains("NOPERM") == true)
      _ = try await queue.send("ACL", "SETUSER", "default", "+hincrby")
      try await tell(20)
      #expect(mark.countingProblem == nil)
      #expect(try await queue.countedBytes() == ["3": 120])
    }
  }
}

extension QueueUnderTest {
  /// As ``push(_:of:payload:)``, and returns when the bytes are counted.
  func pushCounted(
    _ numbers: some Sequence<Int>, of account: String = EnvelopeHeader.plain.account,
    payload: ByteBuffer = ByteBuffer(string: "payload")
  ) async throws {
    let producer = QueueProducer(client: client, limits: ProducerLimits(deadline: .seconds(60)))
    let queue = QueueUnderTest(server: server, client: client, producer: producer)
    do {
      try await queue.push(numbers, of: account, payload: payload)
    } catch {
      try await producer.drain().get()
      throw error
    }
    try await producer.drain().get()
  }

  /// The counts that aren't 0, by field.
  func countedBytes() async throws -> [String: Int64] {
    let items = try await send("HGETALL", layout.bytes).array().map { try $0.string() }
    return stride(from: 0, to: items.count, by: 2).reduce(into: [:]) { counts, index in
      let isCount = items[index] != "kept" && !items[index].hasPrefix("next:")
      guard isCount, items[index + 1] != "0" else { return }
      counts[items[index]] = Int64(items[index + 1])
    }
  }

  func bytes(of list: String) async throws -> Int64 {
    try await send("LRANGE", list, 0, -1).array().reduce(0) { try $0 + Int64($1.bytes().count) }
  }

  /// The same as ``countedBytes()``, added up from the envelopes themselves.
  func recountedBytes() async throws -> [String: Int64] {
    var sums: [String: Int64] = [:]
    for (list, key) in layout.pending.enumerated() { sums["\(list)"] = try await bytes(of: key) }
    sums["later"] = try await send("ZRANGE", layout.later, 0, -1).array()
      .reduce(0) { try $0 + Int64($1.bytes().count) }
    return sums.filter { $0.value != 0 }
  }

  func reading() async throws -> QueueReading {
    let script = LevelScript(layout: layout, mayMissBytes: false)
    let level = try script.read(try await client.run(script).get())
    return try await QueueReading(level: level, info: send("INFO", "memory"))
  }
}
