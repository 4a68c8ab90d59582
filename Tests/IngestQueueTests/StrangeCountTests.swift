// A Redis that answers impossible numbers. They are unexpected replies, and don't end the process.

import Hiredis
import NIOCore
import Testing

@testable import IngestQueue

@Suite struct StrangeCountTests {
  private static let info = RedisReply.bulk(Array("used_memory:1000\r\nmaxmemory:2000\r\n".utf8))

  private func script(
    length: Int64 = 1, later: Int64 = 0, bytes: Int64 = 10, listBytes: Int64 = 10, done: Int64 = 5,
    dead: String? = nil, retries: String? = nil
  ) -> RedisReply {
    let lengths = (0..<QueueLayout.lists).map { RedisReply.integer($0 == 3 ? length : 0) }
    let members = dead.map { [RedisReply.bulk(Array("all".utf8)), .bulk(Array($0.utf8))] } ?? []
    let waiting = retries.map { [RedisReply.bulk(Array("of:acme".utf8)), .bulk(Array($0.utf8))] } ?? []
    let sizes = (0..<QueueLayout.lists).map { RedisReply.integer($0 == 3 ? listBytes : 0) }
    return .array([
      .array(lengths), .integer(later), .integer(bytes), .integer(done), .array(members), .array(sizes),
      .array(waiting),
    ])
  }

  private func read(_ script: RedisReply, info: RedisReply = info) throws -> QueueReading {
    try QueueReading(level: LevelScript(layout: QueueLayout(), mayMissBytes: false).read(script), info: info)
  }

  @Test func `what can be is read`() throws {
    let reading = try read(script(dead: "7"))
    #expect((reading.entries, reading.bytes, reading.done, reading.deadBytes.all) == (1, 10, 5, 7))
    let retries = try read(script(later: 1, retries: "9")).retries
    #expect(retries == AccountBytes(all: 9, accounts: [.init(name: "acme", bytes: 9)]))
  }

  @Test(arguments: [Int64.max, .min, -1, 1 << 51])
  func `a count that can't be is refused`(number: Int64) {
    for reply in [
      script(length: number), script(later: number), script(bytes: number), script(done: number),
      script(dead: "\(number)"), script(listBytes: number), script(retries: "\(number)"),
    ] {
      #expect(throws: UnexpectedReply.self) { try read(reply) }
    }
    for field in ["used_memory", "maxmemory"] {
      let other = field == "maxmemory" ? "used_memory" : "maxmemory"
      let info = RedisReply.bulk(Array("\(other):1\r\n\(field):\(number)\r\n".utf8))
      #expect(throws: UnexpectedReply.self) { try read(script(), info: info) }
    }
  }

  @Test func `the largest counts that are read can be reckoned with`() throws {
    let most = Int64.mostCounted
    let lengths = [RedisReply](repeating: .integer(most), count: QueueLayout.lists)
    let reading = try read(
      .array([
        .array(lengths), .integer(most), .integer(most), .integer(most), .array([]), .array(lengths), .array([]),
      ]))
    #expect(reading.entries == most * Int64(QueueLayout.lists + 1))
    var admission = Admission(limits: QueueLimits())
    admission.read(reading, at: .uptimeNanoseconds(1))
    #expect(admission.shutFor != nil && admission.room != nil)
  }
}
