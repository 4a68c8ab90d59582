// The rate limit of an account: the burst, how it refills, and when an account is forgotten.

import Dispatch
import KeyReplica
import Synchronization
import Testing

@testable import IngestNode

@Suite struct AccountRatesTests {
  private func second(_ number: Double) -> Instant { Instant(nanoseconds: Int64(number * 1e9)) }

  private func taken(_ rates: AccountRates, _ account: String = "a", at time: Double, of pushes: Int = 1000) -> Int {
    (0..<pushes).count { _ in !rates.isExceeded(by: account, now: second(time)) }
  }

  @Test func `after a pause twice as many may come at once, and then so many a second`() {
    let rates = AccountRates(perSecond: 10)
    #expect(taken(rates, at: 100) == 20)
    #expect(taken(rates, at: 100) == 0)
    #expect(taken(rates, at: 100.09) == 0)
    #expect(taken(rates, at: 100.1) == 1, "what was refused isn't counted")
    #expect(taken(rates, at: 101.1) == 10)
    #expect(taken(rates, at: 102) == 9)
    #expect(taken(rates, at: 10_000) == 20, "no more is saved up")
  }

  @Test func `a steady sender within its rate is never refused`() {
    let rates = AccountRates(perSecond: 10)
    for push in 0..<10_000 { #expect(!rates.isExceeded(by: "a", now: second(Double(push) / 10))) }
  }

  @Test func `accounts don't take from each other`() {
    let rates = AccountRates(perSecond: 1)
    #expect(taken(rates, "a", at: 1) == 2)
    #expect(taken(rates, "b", at: 1) == 2)
    #expect(taken(rates, "a", at: 1) == 0)
  }

  @Test func `threads that read the clock in another order than they ask bring nobody more`() {
    let rates = AccountRates(perSecond: 10)
    #expect(taken(rates, at: 5) == 20)
    #expect(taken(rates, at: 4) == 0)
    #expect(taken(rates, at: 5) == 0)
    let others = AccountRates(perSecond: 10)
    #expect(taken(others, at: 5, of: 10) == 10)
    #expect(taken(others, at: 4, of: 1) == 1)
    #expect(taken(others, at: 5) == 9)
  }

  @Test func `many threads together get as much as one`() {
    let rates = AccountRates(perSecond: 500)
    let all = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 4) { _ in all.add(taken(rates, at: 1), ordering: .relaxed) }
    #expect(all.load(ordering: .relaxed) == 1000)
  }

  @Test func `those that have all to their credit again are forgotten when there are many`() {
    let rates = AccountRates(perSecond: 10, remembered: 100)
    for number in 0..<99 { #expect(taken(rates, "early \(number)", at: 0, of: 1) == 1) }
    #expect(taken(rates, "busy", at: 0) == 20)
    #expect(rates.accounts == 100)
    #expect(taken(rates, "busy", at: 0.2) == 2, "an account that is known forgets nobody")
    #expect(rates.accounts == 100)
    _ = taken(rates, "late", at: 0.2, of: 1)
    #expect(rates.accounts == 2)
    #expect(taken(rates, "busy", at: 0.2) == 0, "who owes is remembered")
    #expect(taken(rates, "early 1", at: 0.2) == 20)
  }

  @Test func `while all owe they aren't looked through for each newcomer`() {
    let rates = AccountRates(perSecond: 10, remembered: 100)
    for number in 0..<150 { _ = taken(rates, "\(number)", at: 0, of: 1) }
    #expect(rates.accounts == 150)
    for number in 150..<200 { _ = taken(rates, "\(number)", at: 9, of: 1) }
    #expect(rates.accounts == 200, "not before there are twice as many")
    _ = taken(rates, "200", at: 9, of: 1)
    #expect(rates.accounts == 51)
  }

  @Test func `a push that wasn't taken after all doesn't count`() {
    let rates = AccountRates(perSecond: 1)
    let now = Instant(nanoseconds: 0)
    for _ in 0..<100 {
      #expect(!rates.isExceeded(by: "acme", now: now))
      rates.giveBack(to: "acme")
    }
    #expect(!rates.isExceeded(by: "acme", now: now) && !rates.isExceeded(by: "acme", now: now))
    #expect(rates.isExceeded(by: "acme", now: now), "those that were taken do")
    rates.giveBack(to: "nobody")
    #expect(rates.accounts == 1)
  }
}
