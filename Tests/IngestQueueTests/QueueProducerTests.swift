import Hiredis
import Logging
import NIOCore
import NIOPosix
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

struct QueueProducerTests {
  private let layout = QueueLayout()

  /// A producer on a Redis of its own, and a client to look at what it did.
  private func withProducer(
    _ options: RedisServerOptions = RedisServerOptions(), limits: ProducerLimits = ProducerLimits(),
    _ body: (RedisServer, QueueProducer, RedisClient) async throws -> Void
  ) async throws {
    try await withRedis(options) { server in
      let client = RedisClient(
        endpoint: server.endpoint, backoff: Backoff(first: .milliseconds(5), most: .milliseconds(20)),
        on: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
      defer { client.shutDown() }
      _ = try await client.connection(within: .seconds(5)).get()
      let producer = QueueProducer(client: client, layout: layout, limits: limits)
      try await body(server, producer, client)
    }
  }

  private func queue(_ client: RedisClient) async throws -> [Envelope] {
    let lists = try await client.execute(layout.pending.map { RedisCommand("LRANGE", $0, 0, -1) })
    return try lists.flatMap { try $0.array().map { try Envelope($0.bytes()) }.reversed() }
  }

  /// How each submission ended, all of them made in one turn of the producer's event loop.
  private func outcomes(
    _ producer: QueueProducer, _ range: Range<Int>, payload: ByteBuffer = ByteBuffer(string: "x")
  ) async throws -> [EnqueueError?] {
    let eventLoop = producer.eventLoop
    return try await eventLoop.flatSubmit {
      EventLoopFuture.whenAllComplete(
        range.map { producer.submit(.numbered($0), payload: payload) }, on: eventLoop)
    }.get().map { result in
      switch result {
      case .success: nil
      case .failure(let error): try #require(error as? EnqueueError)
      }
    }
  }

  private func counters(_ producer: QueueProducer) async throws -> ProducerCounters {
    try await producer.eventLoop.submit { producer.counters }.get()
  }

  @Test func `what one turn of the event loop brings is one command, and is taken in its order`() async throws {
    try await withProducer { _, producer, client in
      #expect(try await outcomes(producer, 0..<300).allSatisfy { $0 == nil })
      #expect(try await queue(client).map(\.header) == (0..<300).map { .numbered($0) })
      let counters = try await counters(producer)
      #expect(counters.batches == 1)
      #expect(counters.entries == 300)
      #expect(counters.failures == 0)
      #expect(counters.commands == 1)
      #expect(counters.bytes == 0)
    }
  }

  @Test func `payloads from many tasks at once arrive once each, byte for byte, in fewer commands`() async throws {
    try await withProducer { _, producer, client in
      try await withThrowingTaskGroup { group in
        for task in 0..<8 {
          group.addTask {
            for number in 0..<100 {
              let number = task * 100 + number
              try await producer.submit(.numbered(number), payload: ByteBuffer(string: "payload \(number)\r\n\0")).get()
            }
          }
        }
        try await group.waitForAll()
      }
      let queue = try await queue(client)
      #expect(Set(queue.map(\.header.id)).count == 800)
      #expect(queue.count == 800)
      for envelope in queue {
        let number = envelope.header.receivedAt - EnvelopeHeader.plain.receivedAt
        #expect(Array(envelope.payload) == Array("payload \(number)\r\n\0".utf8))
      }
    }
  }

  @Test func `a huge payload goes whole, and what came with it too`() async throws {
    var generator = SeededGenerator.announced()
    let huge = (0..<(12 << 20)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    try await withProducer { _, producer, client in
      async let before: Void = producer.submit(.numbered(0), payload: ByteBuffer(string: "a")).get()
      async let middle: Void = producer.submit(.numbered(1), payload: ByteBuffer(bytes: huge)).get()
      async let after: Void = producer.submit(.numbered(2), payload: ByteBuffer(string: "b")).get()
      _ = try await (before, middle, after)
      let queue = try await queue(client)
      #expect(queue.count == 3)
      let envelope = try #require(queue.first { $0.header == .numbered(1) })
      #expect(envelope.payload.elementsEqual(huge))
    }
  }

  @Test func `what is small doesn't line up behind what is huge`() async throws {
    try await withProducer { _, producer, _ in
      let eventLoop = producer.eventLoop
      // In the order of the answers, which is the order of sending.
      let order = NIOLoopBoundBox.makeBoxSendingValue([Int](), eventLoop: eventLoop)
      let huge = ByteBuffer(repeating: 7, count: 15 << 20)
      try await eventLoop.flatSubmit {
        let all = (0..<204).map { number in
          let payload = number < 4 ? huge : ByteBuffer(string: "small")
          let pushed = producer.submit(.numbered(number), payload: payload)
          pushed.whenSuccess { order.value.append(number) }
          return pushed
        }
        return EventLoopFuture.andAllSucceed(all, on: eventLoop)
      }.get()
      let answered = try await eventLoop.submit { order.value }.get()
      #expect(answered.count == 204)
      let hugeAhead = answered.prefix { $0 < 4 }.count + (answered.firstIndex { $0 >= 4 } ?? 0)
      #expect(hugeAhead == 0, "\(answered.prefix(5))")
      #expect(answered.suffix(4).sorted() == [0, 1, 2, 3])
    }
  }

  @Test func `without a connection a payload is refused at once as not sent`() async throws {
    let folder = try TemporaryFolder()
    let client = RedisClient(
      endpoint: RedisEndpoint(address: .unix(path: folder.path("nobody.sock"))),
      on: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
    defer { client.shutDown() }
    let producer = QueueProducer(client: client, limits: ProducerLimits(deadline: .seconds(60)))
    let start = ContinuousClock.now
    for outcome in try await outcomes(producer, 0..<1_000) {
      guard case .away(let error) = outcome else {
        Issue.record("\(String(describing: outcome))")
        return
      }
      #expect(error.outcome == .notSent)
    }
    #expect(ContinuousClock.now - start < .seconds(30), "it waited for a connection")
    #expect(try await counters(producer).failures == 1_000)
  }

  @Test func `an error reply refuses the batch, and the next one is taken when Redis can again`() async throws {
    try await withProducer { server, producer, client in
      func expectRefusal(_ code: String) async throws {
        for outcome in try await outcomes(producer, 0..<10) {
          guard case .refused(let error) = outcome else {
            Issue.record("expected \(code), got \(String(describing: outcome))")
            return
          }
          #expect(error.code == code)
        }
      }
      #expect(try await outcomes(producer, 0..<1) == [nil])

      try await client.execute(RedisCommand("CONFIG", "SET", "maxmemory", 1)).ok()
      try await expectRefusal("OOM")
      try await client.execute(RedisCommand("CONFIG", "SET", "maxmemory", 0)).ok()
      #expect(try await outcomes(producer, 1..<2) == [nil])

      try await client.execute(RedisCommand("CONFIG", "SET", "min-replicas-to-write", 1)).ok()
      try await expectRefusal("NOREPLICAS")
      try await client.execute(RedisCommand("CONFIG", "SET", "min-replicas-to-write", 0)).ok()
      #expect(try await outcomes(producer, 2..<3) == [nil])

      try await client.execute(RedisCommand("REPLICAOF", "127.0.0.1", 1)).ok()
      // A replica ends the conversation: what wasn't sent before has no connection.
      let refused = try await outcomes(producer, 0..<10)
      for outcome in refused {
        switch outcome {
        case .refused(let error): #expect(error.code == "READONLY")
        case .away(let error): #expect(error.outcome == .notSent)
        default: Issue.record("expected READONLY, got \(String(describing: outcome))")
        }
      }
      #expect(refused.contains { if case .refused = $0 { true } else { false } })
      try await server.run("REPLICAOF", "NO", "ONE")
      _ = try await client.connection(within: .seconds(10)).get()
      #expect(try await outcomes(producer, 3..<4) == [nil])

      #expect(try await queue(client).map(\.header) == (0..<4).map { .numbered($0) })

      try await client.execute(RedisCommand("SET", layout.pending(0), "not a list")).ok()
      try await expectRefusal("WRONGTYPE")
      #expect(try await counters(producer).entries == 4)
      #expect(try await counters(producer).failures == 40)
    }
  }

  @Test func `when Redis holds still, what was sent is unknown, what waited wasn't sent, and both hear it in time`()
    async throws
  {
    let limits = ProducerLimits(entriesPerBatch: 10, deadline: .milliseconds(300))
    try await withProducer(limits: limits) { server, producer, client in
      #expect(try await outcomes(producer, 0..<1) == [nil])
      try await server.pause()
      let start = ContinuousClock.now
      let outcomes = try await outcomes(producer, 1..<51)
      let took = ContinuousClock.now - start
      // Less than the client's own deadline, which would end the wait as well.
      #expect(took >= .milliseconds(290) && took < .seconds(4), "\(took)")
      for outcome in outcomes.prefix(20) {
        guard case .unknownOutcome(let error) = outcome else {
          Issue.record("\(String(describing: outcome))")
          return
        }
        #expect(error.reason == .deadlineExceeded(command: "LPUSH"))
      }
      for outcome in outcomes.dropFirst(20) {
        guard case .away(let error) = outcome else {
          Issue.record("\(String(describing: outcome))")
          return
        }
        #expect(error.outcome == .notSent)
      }
      try server.resume()
      try await eventually("pushes are taken again") { try await self.outcomes(producer, 51..<52) == [nil] }
      // Payloads that were reported as not sent aren't there. Those with an unknown outcome may be.
      let numbers = try await Set(queue(client).map { Int($0.header.receivedAt - EnvelopeHeader.plain.receivedAt) })
      #expect(numbers.isSuperset(of: [0, 51]))
      #expect(numbers.isDisjoint(with: 21..<51))
    }
  }

  @Test func `when Redis holds still, no more than the bounds allow is kept in memory`() async throws {
    let limits = ProducerLimits(entriesPerBatch: 10, waitingEntries: 100, deadline: .milliseconds(200))
    try await withProducer(limits: limits) { server, producer, _ in
      try await server.pause()
      let outcomes = try await outcomes(producer, 0..<150)
      #expect(outcomes.filter { $0 == .full(.entries(100)) }.count == 50)
      #expect(outcomes.suffix(50).allSatisfy { $0 == .full(.entries(100)) })
      #expect(try await counters(producer).bytes == 0)
      try server.resume()
    }
  }

  @Test func `draining answers all that was submitted and takes nothing more`() async throws {
    try await withProducer { _, producer, client in
      let eventLoop = producer.eventLoop
      let (submitted, drained, later) = try await eventLoop.submit {
        let submitted = EventLoopFuture.whenAllComplete(
          (0..<100).map { producer.submit(.numbered($0), payload: ByteBuffer()) }, on: eventLoop)
        return (submitted, producer.drain(), producer.submit(.numbered(100), payload: ByteBuffer()))
      }.get()
      try await drained.get()
      #expect(try await submitted.get().allSatisfy { (try? $0.get()) != nil })
      await #expect(throws: EnqueueError.shuttingDown) { try await later.get() }
      #expect(try await queue(client).count == 100)
      try await producer.drain().get()
    }
  }

  @Test func `what Redis acknowledged with appendfsync always is there after kill -9 in mid-push`() async throws {
    let options = RedisServerOptions { $0.appendOnly = .always }
    try await withProducer(options, limits: ProducerLimits(deadline: .seconds(5))) { server, producer, client in
      let acknowledged = try await withThrowingTaskGroup(of: [Int].self) { group in
        for task in 0..<16 {
          group.addTask {
            var acknowledged: [Int] = []
            for number in 0..<100_000 {
              do {
                let number = task * 100_000 + number
                try await producer.submit(.numbered(number), payload: ByteBuffer(string: "payload")).get()
                acknowledged.append(number)
              } catch is EnqueueError {
                break
              }
            }
            return acknowledged
          }
        }
        try await eventually("some hundred pushes were acknowledged") { try await counters(producer).entries > 500 }
        try await server.kill9()
        return try await group.reduce(into: []) { $0 += $1 }
      }
      #expect(acknowledged.count > 500)
      try await server.restart()
      let found = try await Set(queue(client).map(\.header.id))
      for number in acknowledged { #expect(found.contains(EnvelopeHeader.numbered(number).id)) }
    }
  }
}
