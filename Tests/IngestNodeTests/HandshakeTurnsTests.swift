// The order in which handshakes continue, and which of their work is charged.

import ClientAddress
import NIOCore
import NIOEmbedded
import RedisFixture
import Testing

@testable import IngestNode

@Suite struct HandshakeTurnsTests {
  /// Records its turn.
  private final class Handshake: HandshakeTaking {
    let name: String
    let turnOwner: TurnOwner
    var went: (String) -> Void = { _ in }

    init(_ name: String, of address: String) throws {
      self.name = name
      let parsed = IPAddress(text: Array(address.utf8).span.bytes)
      turnOwner = .network(try #require(parsed))
    }

    func goOn() { went(name) }
  }

  @Test func `one network's hellos wait for each other, and not another network's for all of them`() throws {
    let loop = EmbeddedEventLoop()
    let turns = HandshakeTurns(on: loop)
    var order: [String] = []
    // The first goes on at once and is slow, so that the others wait.
    let slow = try Handshake("slow", of: "192.0.2.1")
    slow.went = { name in
      order.append(name)
      let begun = NIODeadline.now()
      while .now() - begun < .milliseconds(3) {}
    }
    turns.append(slow)
    #expect(order == ["slow"])
    for number in 1...100 {
      let flood = try Handshake("flood-\(number)", of: "192.0.2.1")
      flood.went = { order.append($0) }
      turns.append(flood)
    }
    let customer = try Handshake("customer", of: "198.51.100.1")
    customer.went = { order.append($0) }
    turns.append(customer)
    // For at least as long as the batch took, the loop does other work.
    loop.advanceTime(by: .milliseconds(2))
    #expect(order == ["slow"] && turns.count == 101)
    loop.advanceTime(by: .seconds(1))
    #expect(order.prefix(3) == ["slow", "flood-1", "customer"] && turns.count == 0 && order.count == 102)
  }

  @Test func `a handshake that nobody is before goes on at once`() throws {
    let loop = EmbeddedEventLoop()
    let turns = HandshakeTurns(on: loop)
    var order: [String] = []
    for name in ["one", "two"] {
      let handshake = try Handshake(name, of: "192.0.2.1")
      handshake.went = { order.append($0) }
      turns.append(handshake)
      #expect(order.last == name)
      loop.advanceTime(by: .milliseconds(100))
    }
  }

  @Test func `application data beside the end of a handshake isn't counted, however it is cut`() {
    var generator = SeededGenerator.announced()
    let records: [(type: UInt8, bytes: Int)] = [(22, 517), (20, 1), (23, 53), (23, 16_000), (22, 0), (21, 2)]
    let whole = records.flatMap { record in
      [record.type, 3, 3, UInt8(record.bytes >> 8), UInt8(record.bytes & 255)]
        + [UInt8](repeating: 22, count: record.bytes)
    }
    for _ in 0..<50 {
      var counted = HandshakeRecords()
      var rest = whole[...]
      while !rest.isEmpty {
        let part = Bool.random(using: &generator) ? Int.random(in: 1...7, using: &generator) : 5_000
        counted.count(ByteBuffer(bytes: rest.prefix(part)).readableBytesView)
        rest = rest.dropFirst(part)
      }
      #expect(counted.handshakeBytes == 4 * 5 + 517 + 1 + 0 + 2)
    }
  }
}
