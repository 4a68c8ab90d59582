import Hiredis
import NIOCore
import QueueFixture
import Testing

@testable import IngestQueue

struct PushBatchesTests {
  private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

  private let keys = QueueLayout().pending

  private func batches(_ change: (inout ProducerLimits) -> Void = { _ in }) -> PushBatches<Int> {
    var limits = ProducerLimits()
    change(&limits)
    return PushBatches(limits: limits)
  }

  /// The next batch, which must be there to be sent.
  private func send(
    _ batches: inout PushBatches<Int>, to shard: PushDestination? = nil, now: NIODeadline? = nil, huge: Bool = true
  ) throws -> (PushBatch<Int>, commands: ByteBuffer) {
    let shard = shard ?? PushDestination(keys: keys, confirmingReplicas: nil)
    guard case .send(let batch, let commands) = batches.next(for: shard, now: now ?? start, huge: huge) else {
      throw Unexpected(description: "there is nothing to send")
    }
    return (batch, commands)
  }

  /// The waiters of all batches that there are, each answered before the next is asked for.
  private func sendAll(_ batches: inout PushBatches<Int>) throws -> [[Int]] {
    var sent: [[Int]] = []
    while batches.waitingEntries > 0 {
      let (batch, _) = try send(&batches)
      batches.finished(batch)
      sent.append(batch.parts.flatMap(\.waiters))
    }
    return sent
  }

  /// The commands as a server would read them.
  private func commands(in bytes: ByteBuffer) throws -> [[[UInt8]]] {
    var reader = ReplyReader()
    try reader.feed(Array(bytes.readableBytesView))
    var commands: [[[UInt8]]] = []
    while let reply = try reader.next() { commands.append(try reply.array().map { try $0.bytes() }) }
    #expect(reader.waitingBytes == 0)
    return commands
  }

  @Test func `entries of one list are one LPUSH with every envelope in its order`() throws {
    for count in [1, 2, 9, 10, 99, 512] {
      var batches = batches()
      for number in 0..<count {
        try batches.add(
          .numbered(number), payload: ByteBuffer(string: "p\(number)"), list: 0, waiter: number, now: start)
      }
      let (batch, bytes) = try send(&batches)
      #expect(batch.parts.map(\.waiters) == [Array(0..<count)])
      let commands = try commands(in: bytes)
      #expect(commands.count == 1)
      #expect(commands[0].prefix(2) == [Array("LPUSH".utf8), Array(keys[0].utf8)])
      #expect(commands[0].count == count + 2)
      for (number, argument) in commands[0].dropFirst(2).enumerated() {
        let envelope = try Envelope(argument)
        #expect(envelope.header == .numbered(number))
        #expect(Array(envelope.payload) == Array("p\(number)".utf8))
      }
    }
  }

  @Test func `entries of several lists are an LPUSH for each list, in one write`() throws {
    var batches = batches()
    for (number, list) in [3, 3, 0, 16, 3, 0].enumerated() {
      try batches.add(
        .numbered(number), payload: ByteBuffer(string: "p\(number)"), list: list, waiter: number, now: start)
    }
    let (batch, bytes) = try send(&batches)
    #expect(batch.parts.map(\.list) == [3, 0, 16])
    #expect(batch.parts.map(\.waiters) == [[0, 1, 4], [2, 5], [3]])
    let commands = try commands(in: bytes)
    #expect(commands.map { String(decoding: $0[1], as: UTF8.self) } == [keys[3], keys[0], keys[16]])
    for (command, part) in zip(commands, batch.parts) {
      #expect(try command.dropFirst(2).map { try Envelope($0).header.number } == part.waiters)
    }
  }

  @Test(arguments: [[0], [0, 5]]) func `where replicas have to confirm, the last command waits for them`(
    lists: [Int]
  ) throws {
    var batches = batches()
    for list in lists { try batches.add(.plain, payload: ByteBuffer(), list: list, waiter: list, now: start) }
    let shard = PushDestination(keys: keys, confirmingReplicas: 2)
    let (batch, bytes) = try send(&batches, to: shard, now: start + .milliseconds(500))
    let commands = try commands(in: bytes)
    #expect(commands.count == lists.count + 1)
    #expect(shard.replies(to: batch) == lists.count + 1)
    // A third of the 1.5 s that are left.
    #expect(commands.last == ["WAIT", "2", "500"].map { Array($0.utf8) })
  }

  @Test func `a batch that wasn't sent is the next one, with the keys of another shard`() throws {
    var batches = batches { $0.entriesPerBatch = 2 }
    for number in 0..<4 {
      try batches.add(.numbered(number), payload: ByteBuffer(), list: 0, waiter: number, now: start)
    }
    let (first, _) = try send(&batches)
    batches.putBack(first)
    let counts = (batches.waitingEntries, batches.inFlight)
    #expect(counts == (4, 0))
    let other = QueueLayout(shard: 1_000).pending
    let (again, bytes) = try send(&batches, to: PushDestination(keys: other, confirmingReplicas: nil))
    #expect(again.returns == 1)
    let commands = try commands(in: bytes)
    #expect(commands[0][1] == Array(other[0].utf8))
    #expect(try commands[0].dropFirst(2).map { try Envelope($0).header.number } == [0, 1])
    batches.finished(again)
    #expect(try sendAll(&batches) == [[2, 3]])
    let left = (batches.isEmpty, batches.bytes)
    #expect(left == (true, 0))
  }

  @Test func `a batch ends at its number of entries and at its bytes`() throws {
    var batches = batches {
      $0.entriesPerBatch = 3
      $0.bytesPerBatch = 10_000
    }
    for size in [0, 0, 0, 0, 5_000, 3_000, 3_000] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), list: 0, waiter: size, now: start)
    }
    #expect(try sendAll(&batches) == [[0, 0, 0], [0, 5_000, 3_000], [3_000]])
  }

  @Test func `huge entries go alone, and by turns with what is small`() throws {
    var batches = batches {
      $0.entriesPerBatch = 2
      $0.bytesPerBatch = 10_000
    }
    for size in [20_001, 1, 20_002, 2, 3, 20_003, 4, 5, 6] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), list: 0, waiter: size, now: start)
    }
    #expect(try sendAll(&batches) == [[1, 2], [20_001], [3, 4], [20_002], [5, 6], [20_003]])
  }

  @Test func `while a huge entry is on its way only small batches follow`() throws {
    var batches = batches { $0.bytesPerBatch = 10_000 }
    for size in [20_001, 20_002] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), list: 0, waiter: size, now: start)
    }
    let (huge, _) = try send(&batches)
    #expect(huge.isHuge)
    let shard = PushDestination(keys: keys, confirmingReplicas: nil)
    let next = batches.next(for: shard, now: start, huge: false)
    if case .some = next { Issue.record("a second huge entry was handed out") }
    for size in [1, 2, 3] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), list: 0, waiter: size, now: start)
      let (small, _) = try send(&batches, huge: false)
      #expect(small.parts.map(\.waiters) == [[size]])
    }
    batches.finished(huge)
    let (second, _) = try send(&batches)
    #expect(second.parts.map(\.waiters) == [[20_002]])
  }

  @Test func `all that waits can be taken back at once`() throws {
    var batches = batches {
      $0.entriesPerBatch = 2
      $0.bytesPerBatch = 10_000
    }
    for size in [20_001, 1, 2, 3] {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: size), list: 0, waiter: size, now: start)
    }
    let (flying, _) = try send(&batches)
    let all = batches.takeAll()
    #expect(all.flatMap(\.parts).flatMap(\.waiters).sorted() == [3, 20_001])
    let counts = (batches.waitingEntries, batches.inFlight, batches.bytes)
    #expect(counts == (0, 1, flying.bytes))
    batches.finished(flying)
    let isEmpty = batches.isEmpty
    #expect(isEmpty)
  }

  @Test func `each bound refuses by its name and is free again afterwards`() throws {
    var batches = batches {
      $0.bytes = 2_000
      $0.waitingEntries = 2
    }
    #expect(throws: EnqueueError.self) {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 2_000), list: 0, waiter: 0, now: start)
    }
    try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), list: 0, waiter: 0, now: start)
    #expect(throws: EnqueueError.full(.bytes(2_000))) {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), list: 0, waiter: 0, now: start)
    }
    try batches.add(.plain, payload: ByteBuffer(), list: 0, waiter: 1, now: start)
    #expect(throws: EnqueueError.full(.entries(2))) {
      try batches.add(.plain, payload: ByteBuffer(), list: 0, waiter: 2, now: start)
    }
    let (batch, _) = try send(&batches)
    #expect(throws: EnqueueError.full(.bytes(2_000)), "bytes in flight count too") {
      try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), list: 0, waiter: 0, now: start)
    }
    batches.finished(batch)
    try batches.add(.plain, payload: ByteBuffer(repeating: 0, count: 1_000), list: 0, waiter: 0, now: start)
  }

  @Test func `a line over its limit is refused`() {
    var batches = batches()
    var header = EnvelopeHeader.plain
    header.path = String(repeating: "x", count: EnvelopeHeader.longestLine)
    #expect(throws: EnqueueError.self) {
      try batches.add(header, payload: ByteBuffer(), list: 0, waiter: 0, now: start)
    }
    let empty = batches.isEmpty
    #expect(empty)
  }

  @Test func `what waited until it was due isn't sent`() throws {
    var batches = batches()
    try batches.add(.plain, payload: ByteBuffer(), list: 0, waiter: 0, now: start)
    let (first, _) = try send(&batches)
    #expect(first.deadline == start + .seconds(2))
    try batches.add(.plain, payload: ByteBuffer(), list: 0, waiter: 1, now: start + .seconds(1))
    try batches.add(.plain, payload: ByteBuffer(), list: 0, waiter: 2, now: start + .milliseconds(2_500))
    batches.finished(first)
    let shard = PushDestination(keys: keys, confirmingReplicas: nil)
    guard case .late(let second) = batches.next(for: shard, now: start + .seconds(3), huge: true) else {
      Issue.record("a batch was sent after its deadline")
      return
    }
    #expect(second.parts.map(\.waiters) == [[1, 2]])
    let left = (batches.isEmpty, batches.bytes)
    #expect(left == (true, 0))
  }
}

extension PushBatches {
  fileprivate mutating func add(
    _ header: EnvelopeHeader, payload: ByteBuffer, list: Int, waiter: Waiter, now: NIODeadline
  ) throws {
    var line = ByteBuffer()
    header.write(to: &line)
    try add(line: line, payload: payload, list: list, waiter: waiter, now: now)
  }
}
