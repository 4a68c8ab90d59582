// How many connections there may be, counted from many threads.

import Dispatch
import Synchronization
import Testing

@testable import IngestNode

@Suite struct ConnectionLimiterTests {
  @Test func `there are so many in all, whoever they are from`() {
    let limiter = ConnectionLimiter(limit: 3, limitByAddress: 3)
    #expect(limiter.enter(from: "a") && limiter.enter(from: "b") && limiter.enter(from: nil))
    #expect(!limiter.enter(from: "c") && !limiter.enter(from: nil) && limiter.current == 3)
    limiter.leave(from: "b")
    #expect(limiter.current == 2 && limiter.enter(from: "c") && !limiter.enter(from: "b"))
  }

  @Test func `and so many from one address`() {
    let limiter = ConnectionLimiter(limit: 10, limitByAddress: 2)
    #expect(limiter.enter(from: "a") && limiter.enter(from: "a") && !limiter.enter(from: "a"))
    #expect(limiter.enter(from: "b") && limiter.current == 3, "who was turned away isn't counted")
    limiter.leave(from: "a")
    #expect(limiter.enter(from: "a") && !limiter.enter(from: "a"))
    for _ in 0..<6 { #expect(limiter.enter(from: nil), "nobody knows where these are from") }
    #expect(limiter.current == 9)
  }

  @Test func `when all have left there is as much room as before`() {
    let limiter = ConnectionLimiter(limit: 50, limitByAddress: 10)
    let entered = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      for round in 0..<2000 {
        let address = round % 7 == 0 ? nil : "\((thread + round) % 5)"
        if limiter.enter(from: address) {
          entered.add(1, ordering: .relaxed)
          limiter.leave(from: address)
        }
      }
    }
    #expect(entered.load(ordering: .relaxed) > 1000 && limiter.current == 0)
    for address in ["0", "1", "2", "3", "4"] { #expect((0..<11).count { _ in limiter.enter(from: address) } == 10) }
    #expect(limiter.current == 50)
  }
}
