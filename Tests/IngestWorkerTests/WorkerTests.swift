import CompressionFixture
import Fleet
import Hiredis
import IngestQueue
import IngestWorker
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Synchronization
import Testing

struct WorkerTests {
  @Test func `what is pushed is stored once, and the queue is empty afterwards`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<1_000)
      let worker = try bench.worker(sink: SQLiteSink(path: bench.path))
      try await bench.running(worker) {
        try await bench.untilEmpty()
        // The worker counts when Redis has answered, which is after the queue is empty.
        try await eventually("the worker has nothing in hand") {
          let report = worker.report
          return report.inHand == 0 && report.state == .idle
        }
        #expect(worker.report.stored == 1_000)
        #expect(worker.report.processed == 1_000)
      }
      #expect(try await Stored.rows(bench.path).map(\.receivedAt) == (0..<1_000).map { 1_790_000_000_000 + $0 })
      #expect(try await bench.state().workers.isEmpty, "a worker that has ended takes itself off the list")
      #expect(worker.report.state == .stopping)
    }
  }

  @Test func `a body is stored decoded, and one that can't be decoded is a dead letter with the reason`() async throws {
    try await WorkBench.with { bench in
      let good = try Compression.gzip("hello".utf8)
      var header = EnvelopeHeader.numbered(1)
      header.contentEncoding = "gzip"
      try await bench.push([header], payload: ByteBuffer(bytes: good))
      header = .numbered(2)
      header.contentEncoding = "gzip"
      try await bench.push([header], payload: ByteBuffer(bytes: good.dropLast(3)))
      _ = try await bench.client.execute(RedisCommand("LPUSH", QueueLayout().pending(0), "no envelope"))
      try await bench.push([3])
      let worker = try bench.worker(sink: SQLiteSink(path: bench.path))
      try await bench.running(worker) { try await bench.untilEmpty() }
      #expect(
        try await Stored.rows(bench.path).map { String(decoding: $0.body, as: UTF8.self) } == ["hello", "payload"])
      #expect(worker.report.dead == 2)
      let letters = try await bench.deadLetters()
      #expect(letters.count == 2)
      let corrupt = try #require(letters.first { $0.id == header.id.description })
      #expect(corrupt.reason == "Content-Encoding is gzip, but decoding failed (as gzip: its end is missing)")
      #expect(Array(try Envelope(corrupt.element).payload) == Array(good.dropLast(3)))
      #expect(letters.contains { $0.reason.hasPrefix("not an envelope") && $0.element == Array("no envelope".utf8) })
    }
  }

  @Test func `while the whole sink fails nothing is lost, no attempt is counted, and the lease is kept`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<50)
      let isFull = Atomic<Bool>(true)
      let sink = ScriptedSink { _, deliveries throws(SinkFailure) in
        if isFull.load(ordering: .relaxed) { throw SinkFailure("the disk is full") }
        return deliveries.map { _ in .stored }
      }
      let lease = Duration.milliseconds(1_500)
      let worker = try bench.worker(sink: sink) {
        $0.consumer.lease = lease
        $0.consumer.attempts = 1
        $0.lanes = 1
      }
      let rival = try bench.worker("rival", sink: ScriptedSink()) {
        $0.consumer.lease = lease
        $0.lanes = 1
      }
      try await bench.running(worker) {
        try await eventually("the worker is in trouble") { worker.report.state == .trouble }
        #expect(worker.report.lastError?.contains("the disk is full") == true)
        #expect(worker.report.inHand == 50)
        let claim = try #require(try await bench.state().claims.first)
        try await bench.running(rival) {
          // The rival looks for ended leases at every half of a lease.
          try await eventually("the first lease would be over, and the reaper has looked") {
            try await bench.state().readAt > claim.leaseUntil + 800
          }
          isFull.store(false, ordering: .relaxed)
          try await eventually("it is stored") { sink.stored.count == 50 }
        }
        try await bench.untilEmpty()
      }
      #expect(sink.stored == Array(0..<50))
      #expect(rival.report.stored == 0)
      #expect(try await bench.state().dead == 0)
      #expect(worker.report.retried == 0)
    }
  }

  @Test(arguments: [-1, 1]) func `a step of Redis's clock takes no batch from a worker that lives`(hours: Int)
    async throws
  {
    let clock = try await ServerClock()
    try await WorkBench.with(RedisServerOptions { $0.clock = clock }) { bench in
      try await bench.push(0..<50)
      let isFull = Atomic<Bool>(true)
      let sink = ScriptedSink { _, deliveries throws(SinkFailure) in
        if isFull.load(ordering: .relaxed) { throw SinkFailure("the disk is full") }
        return deliveries.map { _ in .stored }
      }
      let worker = try bench.worker(sink: sink) {
        $0.consumer.lease = .seconds(4)
        $0.lanes = 1
      }
      let rival = try bench.worker("rival", sink: ScriptedSink()) {
        $0.consumer.lease = .seconds(4)
        $0.lanes = 1
      }
      try await bench.running(worker) {
        try await eventually("the worker is in trouble") { worker.report.state == .trouble }
        try await bench.running(rival) {
          try await eventually("the rival is there") { try await bench.state().workers.count == 2 }
          try await bench.server.setClock(ahead: .seconds(3_600 * hours))
          let stepped = try await bench.state().readAt
          // Both look for expired leases every half lease.
          try await eventually("the reapers have looked more than once") {
            try await bench.state().readAt > stepped + 5_000
          }
          isFull.store(false, ordering: .relaxed)
          try await eventually("it is stored") { sink.stored.count == 50 }
        }
        try await bench.untilEmpty()
      }
      #expect(sink.stored == Array(0..<50))
      #expect(rival.report.stored == 0)
      #expect(try await bench.state().failing == 0, "nobody has died")
    }
  }

  @Test func `what fails alone is tried again later and is a dead letter after the last attempt`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<10)
      let sink = ScriptedSink { _, deliveries in
        deliveries.map { delivery in
          switch delivery.header.id {
          case EnvelopeHeader.numbered(3).id: .failed(reason: "never", retryable: true)
          case EnvelopeHeader.numbered(5).id: .failed(reason: "no such thing", retryable: false)
          case EnvelopeHeader.numbered(7).id: .duplicate
          default: .stored
          }
        }
      }
      let worker = try bench.worker(sink: sink) {
        $0.consumer.attempts = 3
        $0.retry = Backoff(first: .milliseconds(10), most: .milliseconds(20))
      }
      try await bench.running(worker) { try await bench.untilEmpty() }
      #expect(sink.stored == [0, 1, 2, 4, 6, 8, 9])
      let letters = try await bench.deadLetters()
      #expect(letters.map(\.reason).sorted() == ["never", "no such thing"])
      #expect(letters.first { $0.reason == "never" }?.attempts == 3)
      let report = worker.report
      #expect(report.stored == 7)
      #expect(report.duplicates == 1)
      #expect(report.retried == 2)
      #expect(report.dead == 2)
    }
  }

  @Test func `told to end, it lets the sink finish and claims nothing more`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<300)
      let sink = ScriptedSink { _, deliveries throws(SinkFailure) in
        do { try await Task.sleep(for: .milliseconds(200)) } catch { throw SinkFailure("cancelled") }
        return deliveries.map { _ in .stored }
      }
      let worker = try bench.worker(sink: sink) {
        $0.lanes = 1
        $0.consumer.envelopes = 100
      }
      try await bench.running(worker) {
        try await eventually("the sink has a batch in hand") { sink.calls == 1 }
      }
      #expect(sink.stored == Array(0..<100))
      #expect(try await bench.pending() == Array(100..<300))
      #expect(try await bench.state().claims.isEmpty)
    }
  }

  @Test func `told to end, it puts back what the sink hasn't stored by the deadline, in its old order`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<300)
      let sink = ScriptedSink { _, _ throws(SinkFailure) in
        do { try await Task.sleep(for: .seconds(60)) } catch { throw SinkFailure("cancelled") }
        return []
      }
      let worker = try bench.worker(sink: sink) {
        $0.drainDeadline = .milliseconds(50)
        $0.consumer.envelopes = 100
      }
      let start = ContinuousClock.now
      try await bench.running(worker) {
        try await eventually("both lanes have a batch in hand") { sink.calls == 2 }
        #expect(try await bench.pending().count == 100)
      }
      #expect(ContinuousClock.now - start < .seconds(10))
      #expect(Set(try await bench.pending()) == Set(0..<300))
      #expect(try await bench.pending().suffix(100) == Array(200..<300))
      let state = try await bench.state()
      #expect(state.claims.isEmpty)
      #expect(state.workers.isEmpty)
      #expect(state.failing == 0, "ending is no failed attempt")
    }
  }

  @Test func `when Redis is killed and comes back, it goes on and nothing is lost`() async throws {
    let options = RedisServerOptions { $0.appendOnly = .always }
    try await WorkBench.with(options) { bench in
      try await bench.push(0..<2_000)
      let worker = try bench.worker(sink: SQLiteSink(path: bench.path)) {
        $0.consumer.envelopes = 20
        $0.consumer.lease = .seconds(2)
      }
      try await bench.running(worker) {
        try await eventually("it has begun") { worker.report.stored > 100 }
        try await bench.server.kill9()
        #expect(worker.report.stored < 2_000, "it was through before the fault: this run says nothing")
        try await eventually("it has noticed") { worker.report.state == .trouble }
        try await bench.server.restart()
        try await eventually("all is stored") { try await Stored.count(bench.path) == 2_000 }
        try await bench.untilEmpty()
      }
      #expect(try await bench.state().dead == 0)
    }
  }

  @Test func `without Redis at the start it waits, and works when there is one`() async throws {
    try await WorkBench.with(RedisServerOptions { $0.appendOnly = .always }) { bench in
      try await bench.push(0..<10)
      try await bench.server.kill9()
      let worker = try bench.worker(sink: SQLiteSink(path: bench.path))
      try await bench.running(worker) {
        try await eventually("it says that Redis is away") { worker.report.state == .trouble }
        try await bench.server.restart()
        try await eventually("all is stored") { try await Stored.count(bench.path) == 10 }
      }
    }
  }

  @Test func `of two workers with one name the elder ends with words, and puts back what it has`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<10)
      let elder = try bench.worker("same", sink: ScriptedSink()) { $0.lanes = 1 }
      let younger = try bench.worker("same", sink: ScriptedSink()) { $0.lanes = 1 }
      let ended = Task { try await elder.run() }
      try await bench.untilEmpty()
      try await bench.running(younger) {
        let error = await #expect(throws: WorkerNameTaken.self) { try await ended.value }
        #expect(error?.by == younger.report.instance)
        #expect(error?.description.contains("two workers run under the name \"same\"") == true)
        try await bench.push(10..<20)
        try await bench.untilEmpty()
      }
      #expect(younger.report.stored == 10)
    }
  }

  @Test func `a worker that was restarted works at once, and gets its earlier life's claims when their lease ends`()
    async throws
  {
    try await WorkBench.with { bench in
      try await bench.push(0..<10)
      // An earlier life that claimed into every lane's first slot and died.
      let earlier = QueueConsumer(
        client: bench.client, worker: try #require(WorkerName("worker-1")),
        limits: ConsumerLimits(envelopes: 5, lease: .milliseconds(600)))
      for slot in 0..<2 { _ = try await earlier.claim(slot: slot, takesSuspects: false) }
      try await bench.push(10..<20)
      let sink = ScriptedSink()
      let worker = try bench.worker(sink: sink) { $0.consumer.lease = .milliseconds(600) }
      try await bench.running(worker) {
        try await eventually("what waits is stored") { Set(sink.stored).isSuperset(of: 10..<20) }
        try await bench.untilEmpty()
      }
      #expect(Set(sink.stored) == Set(0..<20))
    }
  }

  @Test func `a worker whose earlier life held both slots of each lane works at once`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<4)
      let earlier = QueueConsumer(
        client: bench.client, worker: try #require(WorkerName("worker-1")),
        limits: ConsumerLimits(envelopes: 1, lease: .seconds(600)))
      for slot in [0, 1, QueueLayout.slots / 2, QueueLayout.slots / 2 + 1] {
        _ = try await earlier.claim(slot: slot, takesSuspects: false)
      }
      try await bench.push(10..<20)
      let sink = ScriptedSink()
      try await bench.running(bench.worker(sink: sink)) {
        try await eventually("what waits is stored") { Set(sink.stored) == Set(10..<20) }
      }
    }
  }

  @Test func `suspects that the sink never answers hold up nobody else's payloads`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<4, payload: ByteBuffer(repeating: 7, count: 20_000))
      // Each is larger than a batch, so it is claimed alone. The worker dies over all of them.
      let dead = QueueConsumer(
        client: bench.client, worker: try #require(WorkerName("dead")),
        limits: ConsumerLimits(bytes: 10_000, lease: .milliseconds(10)))
      for slot in 0..<4 { _ = try await dead.claim(slot: slot, takesSuspects: false) }
      try await eventually("they are put back") {
        _ = try await dead.reap()
        return try await bench.state().claimed == 0
      }
      let (unanswered, answer) = AsyncStream<Void>.makeStream()
      let sink = ScriptedSink { _, deliveries throws(SinkFailure) in
        if deliveries.contains(where: { $0.header.number < 4 }) {
          for await _ in unanswered {}
          throw SinkFailure("no answer")
        }
        return deliveries.map { _ in .stored }
      }
      let worker = try bench.worker(sink: sink) { $0.consumer.bytes = 10_000 }
      try await bench.running(worker) {
        try await eventually("a suspect is in hand") { try await bench.state().claimed > 0 }
        try await bench.push(10..<20)
        try await eventually("others' are stored") { Set(sink.stored) == Set(10..<20) }
        #expect(try await bench.state().pending == 3)
        answer.finish()
      }
    }
  }

  @Test func `when Redis is full all the while, it is drained to the last envelope, failures included`() async throws {
    try await WorkBench.with { bench in
      let count = 600
      try await bench.push(0..<count, payload: ByteBuffer(repeating: 7, count: 4_000))
      // From now on Redis is over its memory limit, whatever is removed.
      _ = try await bench.client.execute(RedisCommand("CONFIG", "SET", "maxmemory", "100kb")).orThrow()
      let refusal = await #expect(throws: EnqueueError.self) { try await bench.push([count]) }
      guard case .refused(let error) = refusal, error.code == "OOM" else {
        Issue.record("expected OOM, got \(String(describing: refusal))")
        return
      }
      let sink = ScriptedSink { call, deliveries in
        deliveries.map { delivery in
          switch Int(delivery.header.receivedAt) % 10 {
          case 1: .failed(reason: "never", retryable: true)
          case 2: .failed(reason: "no such thing", retryable: false)
          case 3 where call < 3: .failed(reason: "not yet", retryable: true)
          default: .stored
          }
        }
      }
      let worker = try bench.worker(sink: sink) {
        $0.consumer.attempts = 5
        $0.consumer.envelopes = 50
        $0.retry = Backoff(first: .milliseconds(10), most: .milliseconds(20))
      }
      try await bench.running(worker) { try await bench.untilEmpty() }
      #expect(Set(sink.stored) == Set((0..<count).filter { ![1, 2].contains($0 % 10) }))
      let letters = try await bench.deadLetters()
      #expect(letters.count == count / 5)
      #expect(Set(letters.map(\.reason)) == ["never", "no such thing"])
      #expect(try await bench.state().done == Int64(count - count / 5))
      #expect(try await bench.state().failing == 0)
    }
  }
}
