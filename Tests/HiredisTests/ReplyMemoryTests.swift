// How much memory a reader takes while gigabytes go through it, where each feed ends in the midst of a reply: as
// pipelined replies come from a socket. Reading everything that there is empties no buffer then.

import Hiredis
import Testing

@Suite struct ReplyMemoryTests {
  /// Feeds replies of one kind, each in two parts, the second one together with the first part of the next reply.
  /// - Returns: The largest buffer after any feed.
  private func largestCapacity(
    _ reply: RedisReply, bytes: Int, _ reader: inout ReplyReader
  ) throws -> (capacity: Int, replies: Int) {
    let wire = reply.wire
    let middle = wire.count / 2
    let piece = Array(wire[middle...] + wire[..<middle])
    try reader.feed(Array(wire[..<middle]))
    #expect(try reader.next() == nil)
    var (largest, replies) = (0, 0)
    for _ in 0..<(bytes / piece.count) {
      try reader.feed(piece)
      while try reader.next() != nil { replies += 1 }
      largest = max(largest, reader.capacity)
    }
    try reader.feed(Array(wire[middle...]))
    while try reader.next() != nil { replies += 1 }
    #expect(reader.waitingBytes == 0)
    return (largest, replies)
  }

  private static func string(_ count: Int) -> RedisReply { .bulk([UInt8](repeating: 0x78, count: count)) }

  /// Replies, and how many bytes of them.
  private static let streams: [(reply: RedisReply, bytes: Int)] = [
    (string(48_000), 2 << 30), (string(1_000), 64 << 20), (.status(String(repeating: "s", count: 40_000)), 256 << 20),
    (.array([RedisReply](repeating: string(90), count: 200)), 64 << 20), (.integer(7), 1 << 20),
  ]

  @Test(arguments: streams.indices)
  func `gigabytes of pipelined replies take the memory of one reply and one feed`(stream: Int) throws {
    let (reply, bytes) = Self.streams[stream]
    var reader = ReplyReader()
    let (capacity, replies) = try largestCapacity(reply, bytes: bytes, &reader)
    #expect(replies == bytes / reply.wire.count + 1)
    // hiredis leaves up to a kilobyte in front that it has read, and doubles a buffer when it has no room.
    #expect(capacity <= 2 * (1_024 + 2 * reply.wire.count), "\(capacity) bytes for a reply of \(reply.wire.count)")
  }

  @Test func `what one large reply took is given back, though no feed ends with a reply`() throws {
    var reader = ReplyReader()
    let large = RedisReply.bulk([UInt8](repeating: 0x78, count: 64 << 20)).wire
    let small = RedisReply.bulk([UInt8](repeating: 0x79, count: 100)).wire
    for start in stride(from: 0, to: large.count, by: 64 << 10) {
      let isLast = start + (64 << 10) >= large.count
      try reader.feed(Array(large[start..<min(start + (64 << 10), large.count)]) + (isLast ? small.prefix(50) : []))
      if isLast { #expect(try reader.next() != nil) }
      #expect(try reader.next() == nil)
    }
    // Of the next reply; its first byte was looked at already.
    #expect(reader.waitingBytes == 49)
    #expect(reader.capacity <= 1 << 20, "\(reader.capacity)")
    for _ in 0..<10_000 {
      try reader.feed(Array(small[50...] + small[..<50]))
      #expect(try reader.next() != nil)
      #expect(try reader.next() == nil)
    }
    #expect(reader.capacity <= 1 << 20, "\(reader.capacity)")
  }

  @Test func `the size of a reply is known`() throws {
    var reader = ReplyReader()
    try reader.feed(Array("*2\r\n$3\r\nabc\r\n*1\r\n+OK\r\n:1\r\n".utf8))
    #expect(try reader.next() != nil)
    #expect(reader.lastSize == (3, 5))
    #expect(try reader.next() == .integer(1))
    #expect(reader.lastSize == (0, 0))
  }
}
