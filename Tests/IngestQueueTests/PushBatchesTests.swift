import Hiredis
import NIOCore
import Testing

@testable import IngestQueue

struct PushBatchesTests {
  private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

  private func batches(_ change: (inout ProducerLimits) -> Void = { _ in }) -> PushBatches<Int> {
    var limits = ProducerLimits()
    change(&limits)
    return PushBatches(key: "sluice:{queue-0}:pending:0", limits: limits)
  }

  /// What a server would understand of a command.
  private func arguments(of command: ByteBuffer) throws -> [[UInt8]] {
    var reader = ReplyReader()
    try reader.feed(Array(command.readableBytesView))
    let reply = try #require(try reader.next())
    #expect(reader.waitingBytes == 0)
    return try reply.array().map { try $0.bytes() }
  }

  @Test func `a batch is one LPUSH with every envelope in its order`() throws {
    for count in [1, 2, 9, 10, 99, 512] {
      var batches = batches()
      for number in 0..<count {
        try batches.add(.numbered(number), payload: ByteBuffer(string: "p\(number)"), waiter: number, now: start)
      }
      guard case .send(let batch) = batches.next(now: start) else {
        Issue.record("nothing to send")
        return
      }
      #expect(batch.waiters == Array(0..<count))
      let arguments = try arguments(of: batch.command)
      #expect(arguments.prefix(2) == [Array("LPUSH".utf8), Array("sluice:{queue-0}:pending:0".utf8)])
      #expect(arguments.count == count + 2)
      for (number, argument) in arguments.dropFirst(2).enumerated() {
        let envelope = try Envelope(argument)
        #expect(envelope.header == .numbered(number))
        #expect(Array(envelope.payload) == Array("p\(number)".utf8))
      }
    }
  }

  @Test func `a batch ends at its number of entries and at its bytes`() throws {
    var batches = batches {
      $0.entriesPerBatch = 3
      $0.bytesPerBatch = 10_000
      $0.batchesInFlight = 100
    }
    for size in [0, 0, 0, 0, 5_000, 3_000, 3_000] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), waiter: size, now: start)
    }
    var sent: [[Int]] = []
    while case .send(let batch) = batches.next(now: start) { sent.append(batch.waiters) }
    #expect(sent == [[0, 0, 0], [0, 5_000, 3_000], [3_000]])
  }

  @Test func `an envelope over the batch's bytes goes alone`() throws {
    var batches = batches {
      $0.bytesPerBatch = 10_000
      $0.batchesInFlight = 100
    }
    for size in [1, 20_000, 2, 3] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), waiter: size, now: start)
    }
    var sent: [[Int]] = []
    while case .send(let batch) = batches.next(now: start) { sent.append(batch.waiters) }
    #expect(sent == [[1], [20_000], [2, 3]])
  }

  @Test func `no more batches are in flight than may be, and what comes meanwhile gathers in the next one`() throws {
    var batches = batches()
    var sent: [PushBatch<Int>] = []
    for number in 0..<10 {
      try batches.add(.plain, payload: ByteBuffer(), waiter: number, now: start)
      while case .send(let batch) = batches.next(now: start) { sent.append(batch) }
    }
    #expect(sent.map(\.waiters) == [[0], [1]])
    batches.finished(sent[0])
    while case .send(let batch) = batches.next(now: start) { sent.append(batch) }
    #expect(sent.map(\.waiters) == [[0], [1], Array(2..<10)])
    batches.finished(sent[1])
    batches.finished(sent[2])
    let left = (batches.isEmpty, batches.bytes, batches.waitingEntries)
    #expect(left == (true, 0, 0))
  }

  @Test func `each bound refuses by its name and is free again afterwards`() throws {
    var batches = batches {
      $0.bytes = 2_000
      $0.waitingEntries = 2
    }
    #expect(throws: PushFailure.self) {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 2_000), waiter: 0, now: start)
    }
    try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), waiter: 0, now: start)
    #expect(throws: PushFailure.full(.bytes(2_000))) {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), waiter: 0, now: start)
    }
    try batches.add(.plain, payload: ByteBuffer(), waiter: 1, now: start)
    #expect(throws: PushFailure.full(.entries(2))) {
      try batches.add(.plain, payload: ByteBuffer(), waiter: 2, now: start)
    }
    guard case .send(let batch) = batches.next(now: start) else {
      Issue.record("nothing to send")
      return
    }
    #expect(throws: PushFailure.full(.bytes(2_000)), "bytes in flight count too") {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), waiter: 0, now: start)
    }
    batches.finished(batch)
    try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), waiter: 0, now: start)
  }

  @Test func `a line over its limit is refused`() {
    var batches = batches()
    var header = EnvelopeHeader.plain
    header.path = String(repeating: "x", count: EnvelopeHeader.longestLine)
    #expect(throws: PushFailure.self) { try batches.add(header, payload: ByteBuffer(), waiter: 0, now: start) }
    let empty = batches.isEmpty
    #expect(empty)
  }

  @Test func `what waited until it was due isn't sent`() throws {
    var batches = batches { $0.batchesInFlight = 1 }
    try batches.add(.plain, payload: ByteBuffer(), waiter: 0, now: start)
    guard case .send(let first) = batches.next(now: start) else {
      Issue.record("nothing to send")
      return
    }
    #expect(first.deadline == start + .seconds(2))
    try batches.add(.plain, payload: ByteBuffer(), waiter: 1, now: start + .seconds(1))
    try batches.add(.plain, payload: ByteBuffer(), waiter: 2, now: start + .milliseconds(2_500))
    batches.finished(first)
    guard case .late(let second) = batches.next(now: start + .seconds(3)) else {
      Issue.record("a batch was sent after its deadline")
      return
    }
    #expect(second.waiters == [1, 2])
    let left = (batches.isEmpty, batches.bytes)
    #expect(left == (true, 0))
  }
}
