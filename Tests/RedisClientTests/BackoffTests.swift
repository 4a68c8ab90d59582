import NIOCore
import RedisClient
import RedisFixture
import Testing

@Suite struct BackoffTests {
  @Test func `waits double up to the most, with jitter over their upper half`() {
    var generator = SeededGenerator.announced()
    let backoff = Backoff(first: .milliseconds(50), most: .seconds(2))
    for (failures, step) in [
      (1, 50), (2, 100), (3, 200), (6, 1600), (7, 2000), (8, 2000), (63, 2000), (1_000_000, 2000),
    ] {
      let delays = (0..<200).map { _ in backoff.delay(afterFailures: failures, using: &generator) }
      #expect(delays.allSatisfy { $0 >= .milliseconds(Int64(step / 2)) && $0 <= .milliseconds(Int64(step)) })
      #expect(delays.min() != delays.max(), "without jitter a fleet would come back all at once")
    }
  }

  @Test(arguments: [
    Backoff(first: .zero, most: .zero), Backoff(first: .seconds(5), most: .milliseconds(1)),
    Backoff(first: .nanoseconds(.max), most: .nanoseconds(.max)), Backoff(first: .hours(30), most: .hours(40)),
    Backoff(first: .nanoseconds(-5), most: .seconds(1)), Backoff(first: .seconds(1), most: .nanoseconds(-5)),
  ])
  func `no setting makes a wait negative or longer than the most`(backoff: Backoff) {
    var generator = SeededGenerator.announced()
    for failures in [0, 1, 2, 20, 62, 63, 64, .max] {
      let delay = backoff.delay(afterFailures: failures, using: &generator)
      #expect(delay >= .zero && delay <= max(.zero, backoff.most))
    }
  }
}
