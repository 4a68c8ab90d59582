// How many connections a client may begin, while event loops keep up and while they don't.

import ClientAddress
import KeyReplica
import Testing

@testable import IngestNode

@Suite struct ArrivalLimiterTests {
  private func client(_ number: Int) throws -> IPAddress { try IPAddress("192.0.\(number / 256).\(number % 256)") }
  private let moment = Instant(nanoseconds: 5_500_000_000)

  @Test func `while event loops keep up a client begins as many as it likes`() throws {
    let arrivals = ArrivalLimiter(eventLoops: 2, handshake: nil)
    for number in 0..<20_000 {
      #expect(
        arrivals.admits(try client(1), waiting: ArrivalLimiter.backlog - 1, isCrowded: false, at: moment),
        "connection \(number)")
    }
  }

  @Test(arguments: [true, false])
  func `while they don't, one client has a share, and another's few connections begin`(isCrowded: Bool) throws {
    let arrivals = ArrivalLimiter(eventLoops: 2, handshake: nil)
    let waiting = isCrowded ? 0 : ArrivalLimiter.backlog
    var admitted = 0
    for _ in 0..<100_000
    where arrivals.admits(try client(1), waiting: waiting, isCrowded: isCrowded, at: moment) { admitted += 1 }
    // An eighth of two event loops' 4,000.
    #expect(admitted <= 500 && admitted >= 128)
    #expect(arrivals.admits(try client(2), waiting: waiting, isCrowded: isCrowded, at: moment))
    let next = Instant(nanoseconds: moment.nanoseconds + 1_000_000_000)
    #expect(arrivals.admits(try client(1), waiting: waiting, isCrowded: isCrowded, at: next), "each second counts anew")
  }

  @Test func `a thousand clients that open as many as they can leave room for one that opens few`() throws {
    let arrivals = ArrivalLimiter(eventLoops: 2, handshake: .microseconds(200))
    for _ in 0..<100 {
      for number in 0..<1_000 { _ = arrivals.admits(try client(number), waiting: 0, isCrowded: true, at: moment) }
    }
    for _ in 0..<arrivals.fewest {
      #expect(arrivals.admits(try client(2_000), waiting: 0, isCrowded: true, at: moment))
    }
    #expect(!arrivals.admits(try client(2_000), waiting: 0, isCrowded: true, at: moment))
    #expect(arrivals.admits(nil, waiting: 0, isCrowded: true, at: moment), "many may stand behind a trusted proxy")
  }

  @Test func `what a client began while there was no reason to count is held against it alone`() throws {
    let arrivals = ArrivalLimiter(eventLoops: 1, handshake: nil)
    for _ in 0..<10_000 { _ = arrivals.admits(try client(1), waiting: 0, isCrowded: false, at: moment) }
    #expect(!arrivals.admits(try client(1), waiting: ArrivalLimiter.backlog, isCrowded: false, at: moment))
    for number in 0..<100 {
      #expect(
        arrivals.admits(try client(2), waiting: ArrivalLimiter.backlog, isCrowded: false, at: moment),
        "connection \(number) of another client")
    }
  }

  @Test func `handshakes are counted before there is a backlog`() throws {
    let handshake = Duration.milliseconds(1)
    let arrivals = ArrivalLimiter(eventLoops: 1, handshake: handshake)
    var admitted = 0
    for _ in 0..<1_000 {
      for number in 0..<5
      where arrivals.admits(try client(number), waiting: 0, isCrowded: false, at: moment) { admitted += 1 }
    }
    #expect(handshake * admitted < .milliseconds(400), "\(admitted) of five clients that begin as many as they can")
    #expect(arrivals.admits(try client(100), waiting: 0, isCrowded: false, at: moment))
  }
}
