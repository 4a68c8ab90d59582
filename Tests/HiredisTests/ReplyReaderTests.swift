import Hiredis
import RedisFixture
import Testing

@Suite struct ReplyReaderTests {
  static let examples: [(wire: String, reply: RedisReply)] = [
    ("+OK\r\n", .status("OK")),
    ("+\r\n", .status("")),
    ("-ERR no such thing\r\n", .error(RedisServerError(message: "ERR no such thing"))),
    (":0\r\n", .integer(0)),
    (":-9223372036854775808\r\n", .integer(.min)),
    (":9223372036854775807\r\n", .integer(.max)),
    ("$5\r\nhello\r\n", .bulk(Array("hello".utf8))),
    ("$0\r\n\r\n", .bulk([])),
    ("$4\r\n\r\n\r\n\r\n", .bulk(Array("\r\n\r\n".utf8))),
    ("$-1\r\n", .null),
    ("*-1\r\n", .null),
    ("*0\r\n", .array([])),
    ("*2\r\n$1\r\na\r\n:1\r\n", .array([.bulk([97]), .integer(1)])),
    ("*3\r\n*0\r\n*-1\r\n*1\r\n$-1\r\n", .array([.array([]), .null, .array([.null])])),
    ("*2\r\n-ERR inner\r\n+OK\r\n", .array([.error(RedisServerError(message: "ERR inner")), .status("OK")])),
  ]

  @Test(arguments: examples)
  func `each kind of reply is read, whole or byte by byte`(wire: String, reply: RedisReply) {
    let bytes = Array(wire.utf8)
    #expect(Reading(bytes).replies == [reply])
    #expect(Reading(bytes.oneByOne).replies == [reply])
  }

  @Test(arguments: examples)
  func `no reply is there before its last byte`(wire: String, reply: RedisReply) throws {
    let bytes = Array(wire.utf8)
    for end in bytes.indices {
      var reader = ReplyReader()
      try reader.feed(Array(bytes[..<end]))
      #expect(try reader.next() == nil, "after \(end) of \(bytes.count) bytes")
      try reader.feed(Array(bytes[end...]))
      #expect(try reader.next() == reply)
      #expect(try reader.next() == nil)
    }
  }

  @Test func `text that isn't UTF-8 is kept in strings and repaired in errors`() {
    let reading = Reading(Array("$2\r\n".utf8) + [0xff, 0x00] + Array("\r\n-ERR ".utf8) + [0xff] + Array("\r\n".utf8))
    #expect(reading.replies == [.bulk([0xff, 0]), .error(RedisServerError(message: "ERR \u{fffd}"))])
  }

  @Test func `a string of many megabytes is read byte for byte`() throws {
    var generator = SeededGenerator.announced()
    let big = (0..<(5 << 20)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    let stream = RedisReply.bulk(big).wire + RedisReply.status("after").wire
    var reader = ReplyReader()
    var replies: [RedisReply] = []
    for start in stride(from: 0, to: stream.count, by: 65_536) {
      try reader.feed(Array(stream[start..<min(start + 65_536, stream.count)]))
      while let reply = try reader.next() { replies.append(reply) }
    }
    #expect(replies == [.bulk(big), .status("after")])
    #expect(reader.waitingBytes == 0)
  }

  @Test func `an array of many thousands is read whole`() {
    let reply = RedisReply.array((0..<200_000).map { .integer($0) })
    #expect(Reading(reply.wire).replies == [reply])
  }

  @Test func `a long array of short strings comes in one piece, any other as items, and both are the same reply`()
    throws
  {
    let short = (0..<100).map { RedisReply.bulk(Array("\($0)".utf8)) }
    let long = RedisReply.bulk([UInt8](repeating: 7, count: 513))
    func isInOnePiece(_ reply: RedisReply) -> Bool { if case .strings = reply { true } else { false } }
    func read(_ reply: RedisReply) throws -> RedisReply {
      let whole = Reading(reply.wire)
      #expect(whole == Reading(reply.wire.oneByOne))
      #expect(!whole.failed && whole.replies == [reply])
      return try #require(whole.replies.first)
    }
    #expect(isInOnePiece(try read(.array(short))))
    #expect(try read(.array(short)).array() == short)
    // Whatever interrupts it, wherever, nothing before it is lost.
    for other in [.null, .integer(1), .status("OK"), long, .array([]), .array([.null]), .array(short)] {
      for place in [0, 1, 50, 99, 100] {
        var items = short
        items.insert(other, at: place)
        #expect(!isInOnePiece(try read(.array(items))))
        #expect(try read(.array(items)).array() == items)
      }
    }
    let inner = try #require(try read(.array([.array(short), .array(short)])).array().last)
    #expect(isInOnePiece(inner))
    #expect(RedisReply.array(short) != .array(short.reversed()) && inner != .array(short.reversed()))
  }

  @Test func `pipelined replies are the same however the stream is cut`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<400 {
      let replies = (0..<Int.random(in: 1...12, using: &generator)).map { _ in
        RedisReply.random(levels: 8, using: &generator)
      }
      let stream = replies.flatMap(\.wire)
      #expect(Reading(stream).replies == replies)
      #expect(Reading(stream.oneByOne).replies == replies)
      #expect(Reading(stream.cut(using: &generator)).replies == replies)
    }
  }

  @Test func `readers that hold half a reply can be dropped`() throws {
    // For the address sanitizer: whatever hiredis and the assembly hold at that moment is freed, once.
    let stream = Array("*3\r\n$3\r\nabc\r\n*2\r\n:1\r\n+OK\r\n$100000\r\nhalf".utf8)
    for end in 0...stream.count {
      var reader = ReplyReader()
      try reader.feed(Array(stream[..<end]))
      #expect(try reader.next() == nil)
    }
  }

  @Test func `empty feeds change nothing`() throws {
    var reader = ReplyReader()
    try reader.feed([])
    #expect(try reader.next() == nil)
    try reader.feed(UnsafeRawBufferPointer(start: nil, count: 0))
    try reader.feed(Array(":1\r\n".utf8))
    #expect(try reader.next() == .integer(1))
  }
}
