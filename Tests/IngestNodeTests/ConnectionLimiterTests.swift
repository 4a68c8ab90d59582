// How many connections there may be, counted from many threads.

import ClientAddress
import Dispatch
import Synchronization
import Testing

@testable import IngestNode

@Suite struct ConnectionLimiterTests {
  private func address(_ number: Int) -> IPAddress { IPAddress(ipv4: 0x7F00_0000 + UInt32(number)) }

  @Test func `there are so many in all, whoever they are from`() throws {
    let limiter = ConnectionLimiter(limit: 3, limitByAddress: 3)
    let places = try (1...3).map { number in
      let place = try #require(limiter.enter())
      #expect(place.claim(address(number)))
      return place
    }
    #expect(limiter.enter() == nil && limiter.current == 3)
    places[1].giveBack()
    places[1].giveBack()
    #expect(limiter.current == 2 && limiter.enter() != nil && limiter.enter() == nil)
  }

  @Test func `and so many from one address, and who is turned away isn't counted`() throws {
    let limiter = ConnectionLimiter(limit: 10, limitByAddress: 2)
    let (first, second, third) = (
      try #require(limiter.enter()), try #require(limiter.enter()), try #require(limiter.enter())
    )
    #expect(first.claim(address(1)) && second.claim(address(1)) && !third.claim(address(1)))
    #expect(limiter.current == 2)
    // Its connection ends later.
    third.giveBack()
    #expect(limiter.current == 2)
    first.giveBack()
    let fourth = try #require(limiter.enter())
    #expect(fourth.claim(address(1)))
    let fifth = try #require(limiter.enter())
    #expect(!fifth.claim(address(1)))
    for _ in 0..<8 { #expect(limiter.enter() != nil, "nobody knows where these are from") }
    #expect(limiter.enter() == nil && limiter.current == 10)
  }

  @Test func `when all have left there is as much room as before`() {
    let limiter = ConnectionLimiter(limit: 50, limitByAddress: 10)
    let entered = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      for round in 0..<2000 {
        guard let place = limiter.enter() else { continue }
        if round % 7 == 0 || place.claim(address((thread + round) % 5)) { entered.add(1, ordering: .relaxed) }
        place.giveBack()
      }
    }
    #expect(entered.load(ordering: .relaxed) > 1000 && limiter.current == 0)
    for number in 0..<5 { #expect((0..<11).count { _ in limiter.enter()?.claim(address(number)) ?? false } == 10) }
    #expect(limiter.current == 50)
  }
}
