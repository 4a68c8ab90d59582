// Draining the spool into the queue: in order, no faster than allowed, and deleted from the disk only when the queue
// has the payload.

import Hiredis
import IngestQueue
import Logging
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import IngestSpool

struct SpoolDrainTests {
  private static let away = EnqueueError.away(RedisError(.notConnected(last: nil), outcome: .notSent))

  private func ids(_ numbers: some Sequence<Int>) -> [EnvelopeID] { numbers.map { Sample.header($0).id } }

  @Test func `all goes to the queue, byte for byte and in order, and nothing is left`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    try await spool.append(0..<300) { $0 }
    let queue = ScriptedQueue()
    await queue.drain(spool).finish(by: .farAway)
    #expect(queue.pushed.map(\.header) == (0..<300).map { Sample.header($0) })
    #expect(
      queue.pushed.map { Array($0.payload) }
        == (0..<300).map { Array(Sample.payload($0, bytes: $0).readableBytesView) })
    #expect(spool.figures.entries == 0 && spool.figures.bytes == 0 && spool.figures.oldestSeconds == nil)
    #expect(spool.figures.drained == 300)
    #expect(try await spool.close() == 0)
  }

  @Test func `while the queue is away nothing leaves the disk, and when it is back all does`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    try await spool.append(0..<50)
    let queue = ScriptedQueue()
    let drain = queue.drain(spool)
    for failure in [Self.away, .full(.entries(1)), .unknownOutcome(RedisError(.closed("test"), outcome: .unknown))] {
      queue.fails(failure)
      await drain.finish(by: .farAway)
      #expect(queue.pushed.isEmpty && spool.figures.entries == 50)
    }
    queue.fails(nil)
    await drain.finish(by: .farAway)
    #expect(queue.ids == ids(0..<50))
    #expect(try await spool.close() == 0)
  }

  @Test func `it goes on by itself, with what comes later too`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    let queue = ScriptedQueue()
    queue.fails(Self.away)
    let drain = queue.drain(spool)
    let running = Task { await drain.run() }
    try await spool.append(0..<50)
    queue.fails(nil)
    try await eventually("it is drained") { spool.figures.entries == 0 }
    try await spool.append(50)
    try await eventually("it is drained again") { spool.figures.entries == 0 }
    running.cancel()
    await running.value
    #expect(queue.ids == ids(0...50))
    #expect(try await spool.close() == 0)
  }

  @Test func `one that fails is pushed again, and those beside it aren't`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    try await spool.append(0..<10)
    let queue = ScriptedQueue()
    let drain = queue.drain(spool)
    queue.fails(Self.away, for: Sample.header(5).id)
    await drain.finish(by: .farAway)
    #expect(!queue.ids.contains(Sample.header(5).id))
    #expect(Set(queue.ids).count == queue.ids.count && spool.figures.entries == 10 - queue.ids.count)
    #expect(try await spool.payloads().first?.header == Sample.header(5))
    _ = try await spool.close()
  }

  @Test func `what the queue can never take is set aside, for good, and is in nobody's way`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    try await spool.append(0..<10)
    let bytes = spool.figures.bytes
    let queue = ScriptedQueue()
    queue.fails(.tooLarge(bytes: 2, limit: 1), for: Sample.header(0).id)
    queue.fails(.tooLarge(bytes: 2, limit: 1), for: Sample.header(4).id)
    await queue.drain(spool).finish(by: .farAway)
    #expect(queue.ids == ids([1, 2, 3, 5, 6, 7, 8, 9]))
    #expect(spool.figures.entries == 0 && spool.figures.bytes == 0 && spool.figures.oldestSeconds == nil)
    #expect(spool.figures.setAside == 2 && spool.figures.setAsideBytes * 5 == bytes)
    #expect(try await spool.close() == 0)

    // The next process doesn't try them, and takes others.
    let next = try bench.open { $0.drainedPerSecond = 100_000 }
    #expect(next.figures.setAside == 2 && next.figures.entries == 0)
    try await next.append(10)
    let other = ScriptedQueue()
    await other.drain(next).finish(by: .farAway)
    #expect(other.ids == ids([10]) && next.figures.setAside == 2)
    #expect(try await next.close() == 0)
  }

  @Test func `what is set aside is there to see, to be pushed again, and to be thrown away`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    try await spool.append(0..<4)
    let queue = ScriptedQueue()
    for number in 0..<3 { queue.fails(.tooLarge(bytes: 2, limit: 1), for: Sample.header(number).id) }
    await queue.drain(spool).finish(by: .farAway)
    #expect(throws: UnusableSpool.self) { try StoppedSpool(folder: bench.path) }
    _ = try await spool.close()

    let stopped = try StoppedSpool(folder: bench.path)
    let found = try stopped.setAside(limit: 10)
    #expect(found.map(\.header) == (0..<3).map { Sample.header($0) })
    #expect(found.allSatisfy { $0.reason.contains("the queue's limit is 1") })
    #expect(try stopped.setAside(limit: 1).count == 1)
    let element = try #require(try stopped.element(found[1].number))
    #expect(Array(try Envelope(element).payload) == Array(Sample.payload(1).readableBytesView))
    try stopped.requeue([found[0].number])
    try stopped.discard([found[0].number, found[1].number])
    #expect(try stopped.setAside(limit: 10).map(\.number) == [found[2].number])
    #expect(try stopped.element(found[1].number) == nil)
    try stopped.close()

    let next = try bench.open { $0.drainedPerSecond = 100_000 }
    #expect(next.figures.entries == 1 && next.figures.setAside == 1, "what waits again isn't discarded")
    let other = ScriptedQueue()
    await other.drain(next).finish(by: .farAway)
    #expect(other.ids == ids([0]))
    _ = try await next.close()
  }

  @Test func `one on which Redis closes the connection is set aside, and holds up nobody`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    let large = EnqueueError.alwaysTakenBytes
    try await spool.append(0..<6) { $0 == 1 ? large : 0 }
    let queue = ScriptedQueue()
    let closed = EnqueueError.unknownOutcome(RedisError(.closed("the peer closed it"), outcome: .unknown))
    queue.fails(closed, for: Sample.header(1).id)
    let drain = queue.drain(spool)
    let running = Task { await drain.run() }
    try await eventually("it is set aside, and the others are pushed") {
      spool.figures.setAside == 1 && spool.figures.entries == 0
    }
    #expect(queue.ids == ids([0, 2, 3, 4, 5]))
    // A small payload is never suspected of being too large.
    queue.fails(closed, for: Sample.header(6).id)
    try await spool.append(6)
    try await eventually("it was tried several times") { queue.tries(of: Sample.header(6).id) > 3 }
    #expect(spool.figures.setAside == 1 && spool.figures.entries == 1)
    running.cancel()
    await running.value
    _ = try await spool.close()
  }

  @Test func `where an account is refused for now, others' payloads go on`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 100_000 }
    let queue = ScriptedQueue()
    for number in 0..<40 {
      let account = number < 20 ? "greedy" : "other"
      if number < 20 { queue.fails(.accountOverLimit(retryAfter: 1), for: Sample.header(number).id) }
      try await spool.append(
        Sample.header(number, of: account), payload: Sample.payload(number), on: Sample.loop
      ).get()
    }
    let drain = queue.drain(spool)
    let running = Task { await drain.run() }
    try await eventually("the others' are pushed") { spool.figures.entries == 20 }
    #expect(queue.ids == ids(20..<40))
    for number in 0..<20 { queue.fails(nil, for: Sample.header(number).id) }
    try await eventually("the account's are pushed") { spool.figures.entries == 0 }
    #expect(queue.ids == ids(20..<40) + ids(0..<20))
    running.cancel()
    await running.value
    _ = try await spool.close()
  }

  @Test func `too large for Redis is what it says, and what is large enough for that`() {
    let said = EnqueueError.refused(RedisServerError(message: "ERR Protocol error: invalid bulk length"))
    let closed = EnqueueError.unknownOutcome(RedisError(.closed("the peer closed it"), outcome: .unknown))
    let late = EnqueueError.unknownOutcome(RedisError(.deadlineExceeded(command: "LPUSH"), outcome: .unknown))
    let large = EnqueueError.alwaysTakenBytes + 1
    #expect(said.isTooLargeForServer(bytes: large) && !said.isTooLargeForServer(bytes: large - 1))
    #expect(closed.mayBeTooLargeForServer(bytes: large) && !closed.mayBeTooLargeForServer(bytes: large - 1))
    #expect(!closed.isTooLargeForServer(bytes: large) && !late.mayBeTooLargeForServer(bytes: large))
    let other = EnqueueError.refused(RedisServerError(message: "WRONGTYPE Operation against a key"))
    #expect(!other.isTooLargeForServer(bytes: large))
  }

  @Test func `it keeps to its rate`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.drainedPerSecond = 40 }
    try await spool.append(0..<40)
    let queue = ScriptedQueue()
    let begun = ContinuousClock.now
    await queue.drain(spool).finish(by: .farAway)
    #expect(queue.ids == ids(0..<40))
    #expect(ContinuousClock.now - begun >= .milliseconds(999))
    #expect(try await spool.close() == 0)
  }

  @Test func `at its deadline it ends, and the rest is left for the next process`() async throws {
    let bench = try SpoolBench()
    let first = try bench.open { $0.drainedPerSecond = 1 }
    try await first.append(0..<10)
    let queue = ScriptedQueue()
    await queue.drain(first).finish(by: .now + .milliseconds(20))
    #expect(queue.ids == ids(0..<1))
    #expect(try await first.close() == 9)
    let second = try bench.open { $0.drainedPerSecond = 100_000 }
    await queue.drain(second).finish(by: .farAway)
    #expect(queue.ids == ids(0..<10))
    #expect(try await second.close() == 0)
  }

  @Test func `into a real queue`() async throws {
    try await withRedis { redis in
      let bench = try SpoolBench()
      let spool = try bench.open { $0.drainedPerSecond = 100_000 }
      try await spool.append(0..<100)
      let client = RedisClient(endpoint: redis.endpoint, on: Sample.loop, logger: .init(label: "redis"))
      let producer = QueueProducer(client: client)
      let drain = SpoolDrain(spool, logger: .init(label: "drain")) { producer.submit($0, payload: $1) }
      let running = Task { await drain.run() }
      try await eventually("it is drained") { spool.figures.entries == 0 }
      running.cancel()
      await running.value
      // The last one is at the left.
      let elements = try await client.execute(
        RedisCommand("LRANGE", QueueLayout().pending(0), "0", "-1")
      ).array().map { try Envelope($0.bytes()) }
      #expect(elements.reversed().map(\.header) == (0..<100).map { Sample.header($0) })
      try await producer.drain().get()
      try await client.shutDown().get()
      #expect(try await spool.close() == 0)
    }
  }
}
