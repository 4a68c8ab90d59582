import CompressionFixture
import Fleet
import IngestQueue
import NIOCore
import QueueFixture
import RedisFixture
import Synchronization
import Testing

@testable import IngestWorker

struct DecodingRoomTests {
  @Test func `whoever asks first has room first, and who needs little doesn't overtake`() async {
    let room = DecodingRoom(bytes: 100)
    #expect(room.takesNow(60))
    let large = Task { await room.takes(80) }
    while room.waiting < 1 { await Task.yield() }
    #expect(!room.takesNow(10), "somebody waits")
    let small = Task { await room.takes(10) }
    while room.waiting < 2 { await Task.yield() }
    room.giveBack(10)
    #expect(room.waiting == 2, "there is room for the small one, and it isn't its turn")
    room.giveBack(50)
    #expect(await large.value)
    #expect(await small.value)
    #expect(room.left == 10)
    room.giveBack(90)
    #expect(room.left == 100)
    #expect(room.charge(1_000) == 100)
  }

  @Test func `who is cancelled takes nothing and lets those behind it go on`() async {
    let room = DecodingRoom(bytes: 100)
    #expect(room.takesNow(90))
    let large = Task { await room.takes(100) }
    while room.waiting < 1 { await Task.yield() }
    let small = Task { await room.takes(10) }
    while room.waiting < 2 { await Task.yield() }
    large.cancel()
    #expect(await large.value == false)
    #expect(await small.value)
    let cancelled = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return await room.takes(10)
    }
    #expect(await cancelled.value == false)
    room.giveBack(100)
    #expect(room.left == 100)
  }

  @Test(arguments: [1, 4])
  func `payloads of a worker that are decoded at one time are bounded, in all lanes together`(lanes: Int) async throws {
    try await WorkBench.with { bench in
      let body = try Compression.gzip([UInt8](repeating: 0, count: 1 << 10), times: 1_000)
      for part in 0..<10 {
        try await bench.push(
          (0..<20).map { number in
            var header = EnvelopeHeader.numbered(part * 20 + number)
            header.contentEncoding = "gzip"
            return header
          }, payload: ByteBuffer(bytes: body))
      }
      let inHand = Mutex((now: 0, most: 0))
      let sink = ScriptedSink { _, deliveries throws(SinkFailure) in
        let bytes = deliveries.reduce(0) { $0 + $1.body.bytes.count }
        inHand.withLock {
          $0.now += bytes
          $0.most = max($0.most, $0.now)
        }
        // Others have their chance to take more.
        for _ in 0..<1_000 { await Task.yield() }
        inHand.withLock { $0.now -= bytes }
        return deliveries.map { _ in .stored }
      }
      let worker = try bench.worker(sink: sink) {
        $0.lanes = lanes
        $0.decodedTotal = 9 << 20
      }
      try await bench.running(worker) { try await bench.untilEmpty() }
      #expect(Set(sink.stored) == Set(0..<200))
      let most = inHand.withLock { $0.most }
      #expect(most <= 6 << 20, "two thirds of the room, and not 200 payloads of a megabyte")
      #expect(most > 1 << 20, "more than one payload at a time")
    }
  }

  @Test(arguments: [true, false])
  func `payloads that are large only once they are decoded hold up nobody else's`(canBeDecoded: Bool) async throws {
    try await WorkBench.with { bench in
      func push(_ numbers: Range<Int>, _ account: String, _ body: [UInt8], gzip: Bool) async throws {
        let headers = numbers.map { number in
          var header = EnvelopeHeader.numbered(number)
          header.account = account
          header.contentEncoding = gzip ? "gzip" : nil
          return header
        }
        try await bench.push(headers, payload: ByteBuffer(bytes: body))
      }
      // 2 GiB once they are decoded, and all in front; each twice as much as is allowed, or within it.
      let bomb = try Compression.gzip([UInt8](repeating: 0, count: 1 << 20), times: 16)
      try await push(0..<128, "large", bomb, gzip: true)
      for other in 0..<20 {
        try await push((1_000 + other)..<(1_001 + other), "other-\(other)", [1], gzip: false)
        try await push((2_000 + other)..<(2_003 + other), "other-\(other)", Compression.gzip([1, 2, 3]), gzip: true)
      }
      let sink = ScriptedSink()
      let worker = try bench.worker(sink: sink) {
        $0.decoding = BodyDecoding(limit: canBeDecoded ? 16 << 20 : 8 << 20, ratio: 1_000_000)
      }
      let others = Set(1_000..<1_020).union(2_000..<2_022)
      try await bench.running(worker) {
        try await eventually(within: .seconds(60), "the others' are stored") { others.isSubset(of: sink.stored) }
        let report = worker.report
        let large = sink.stored.count { $0 < 1_000 } + Int(report.dead)
        #expect(large < 20, "\(large) large ones were decoded before")
        try await bench.untilEmpty(within: .seconds(120))
      }
      #expect(try await bench.state().dead == (canBeDecoded ? 0 : 128))
      #expect(sink.stored.count { $0 < 1_000 } == (canBeDecoded ? 128 : 0))
    }
  }

  @Test func `a body that stays as it is takes no room`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<100, payload: ByteBuffer(repeating: 7, count: 10_000))
      let sink = ScriptedSink()
      let worker = try bench.worker(sink: sink) {
        $0.lanes = 1
        $0.decodedTotal = 3
      }
      try await bench.running(worker) { try await bench.untilEmpty() }
      #expect(sink.stored == Array(0..<100))
      #expect(sink.calls == 1, "in one piece")
    }
  }
}
