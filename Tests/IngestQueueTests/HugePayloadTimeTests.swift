import NIOCore
import Testing

@testable import IngestQueue

@Suite struct HugePayloadTimeTests {
  private let begin = NIODeadline.uptimeNanoseconds(1_000_000_000)

  @Test func `an account's huge payloads take an eighth of Redis's time, and another's go on`() {
    var time = HugePayloadTime()
    var (now, taken) = (begin, TimeAmount.zero)
    let each = TimeAmount.milliseconds(900)
    while now < begin + .minutes(10) {
      if time.wait(of: 1, at: now) == nil {
        now = now + each
        taken = taken + each
        time.charge(1, each, at: now)
      } else {
        now = now + .milliseconds(100)
      }
      #expect(time.wait(of: 2, at: now) == nil)
    }
    let share = Double(taken.nanoseconds) / Double((now - begin).nanoseconds)
    #expect(share > 0.12 && share < 0.13)
  }

  @Test func `where Redis is quick nobody waits`() {
    var (time, now) = (HugePayloadTime(), begin)
    for _ in 0..<1_000 {
      #expect(time.wait(of: 1, at: now) == nil)
      // 100 MB a second of payloads of 16 MB.
      now = now + .milliseconds(160)
      time.charge(1, .milliseconds(20), at: now)
    }
  }

  @Test func `the wait that is said is long enough, and not much longer`() throws {
    var time = HugePayloadTime()
    time.charge(1, .seconds(3), at: begin)
    let wait = try #require(time.wait(of: 1, at: begin))
    #expect(wait == 17)
    #expect(time.wait(of: 1, at: begin + .seconds(Int64(wait))) == nil)
    #expect(time.wait(of: 1, at: begin + .seconds(Int64(wait) - 2)) != nil)
  }

  @Test func `what is remembered is bounded`() {
    var time = HugePayloadTime()
    for account in UInt64(0)..<10_000 { time.charge(account, .seconds(5), at: begin) }
    #expect(time.wait(of: 0, at: begin) != nil)
    #expect(time.wait(of: 9_999, at: begin) == nil)
    time.charge(9_999, .seconds(5), at: begin + .seconds(100))
    #expect(time.wait(of: 9_999, at: begin + .seconds(100)) != nil, "the others have paid")
  }
}
