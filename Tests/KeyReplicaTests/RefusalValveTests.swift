import Testing

@testable import KeyReplica

@Suite struct RefusalValveTests {
  private struct Bench {
    var valve: RefusalValve
    private var seconds = 0.0

    init(minimum: Int = 10, share: Int = 50) {
      valve = RefusalValve(
        minimum: minimum, share: share, window: .seconds(60), admitted: RecentKeys(), now: Instant(nanoseconds: 0))
    }

    mutating func pass(_ seconds: Double) {
      self.seconds += seconds
      valve.advance(to: Instant(nanoseconds: Int64(self.seconds * 1e9)))
    }

    mutating func admit(_ numbers: Range<Int>) {
      for number in numbers { valve.noteAdmitted(KeyID(secret: "good \(number)".utf8)) }
    }

    /// No two of the first hundred of these keys share a bit, and none of the admitted ones.
    /// - Returns: How many of these unknown keys were refused.
    @discardableResult
    mutating func show(_ numbers: Range<Int>) -> Int {
      var refused = 0
      for number in numbers where valve.mayRefuse(KeyID(secret: "bad-\(number)".utf8)) { refused += 1 }
      return refused
    }

    /// Expects this number of these unknown keys to be refused.
    mutating func expect(
      _ number: Int, refusedOf numbers: Range<Int>, _ comment: Comment? = nil,
      at location: SourceLocation = #_sourceLocation
    ) {
      let refused = show(numbers)
      #expect(refused == number, comment, sourceLocation: location)
    }
  }

  @Test func `the tenth distinct unknown key closes the valve, and isn't refused itself`() {
    var bench = Bench()
    bench.expect(9, refusedOf: 0..<9)
    bench.expect(9, refusedOf: 0..<9, "the same keys again")
    #expect(!bench.valve.isClosed)
    bench.expect(0, refusedOf: 9..<10)
    #expect(bench.valve.isClosed)
    bench.expect(0, refusedOf: 0..<30)
    #expect(bench.valve.counts == RecentKeyCounts(unknown: 30, admitted: 0, confirmed: 0, isStorm: true))
  }

  @Test func `as long as no fewer keys are admitted than unknown the valve stays open`() {
    var bench = Bench()
    bench.admit(0..<100)
    bench.expect(100, refusedOf: 0..<100)
    bench.expect(0, refusedOf: 100..<101)
    #expect(bench.valve.isClosed)
  }

  @Test func `one unknown key that is sent again and again doesn't close the valve`() {
    var bench = Bench()
    for _ in 0..<10_000 { bench.expect(1, refusedOf: 0..<1) }
  }

  @Test func `ten unknown keys in more than a window don't close the valve`() {
    var bench = Bench()
    for number in 0..<100 {
      bench.expect(1, refusedOf: number..<number + 1)
      bench.pass(7)
    }
  }

  @Test func `the valve stays closed while the same clients go on, for hours`() {
    var bench = Bench()
    bench.admit(0..<50)
    bench.show(0..<100)
    #expect(bench.valve.isClosed)
    for _ in 0..<1_000 {
      bench.pass(10)
      bench.admit(0..<50)
      bench.expect(0, refusedOf: 0..<100)
    }
  }

  @Test func `the valve opens once unknown keys are at most half as many as admitted keys, and not before`() {
    var bench = Bench()
    bench.show(0..<20)
    #expect(bench.valve.isClosed)
    for _ in 0..<10 {
      bench.pass(30)
      bench.admit(0..<39)
      bench.expect(0, refusedOf: 0..<20)
    }
    bench.admit(39..<40)
    bench.pass(30)
    #expect(!bench.valve.isClosed)
    bench.expect(20, refusedOf: 0..<20)
  }

  @Test func `the valve opens only if the storm is over by the later half of the window too`() {
    var bench = Bench()
    bench.show(0..<20)
    bench.pass(30)
    bench.admit(0..<39)
    bench.show(0..<20)
    bench.pass(30)
    #expect(bench.valve.isClosed)
    // With the half before, these are twice the unknown keys.
    bench.admit(39..<40)
    bench.show(0..<20)
    bench.pass(30)
    #expect(bench.valve.isClosed, "in the last half there was one admitted key")
    bench.admit(0..<40)
    bench.show(0..<20)
    bench.pass(30)
    #expect(!bench.valve.isClosed)
  }

  @Test func `the valve opens after a window without unknown keys, with or without events`() {
    for step in [10.0, 30, 60, 3_600] {
      var bench = Bench()
      bench.show(0..<20)
      var passed = 0.0
      while bench.valve.isClosed, passed < 7_200 {
        bench.pass(step)
        passed += step
      }
      #expect(!bench.valve.isClosed && passed <= max(90, 2 * step), "\(step): \(passed)")
      bench.expect(9, refusedOf: 0..<9)
      bench.expect(0, refusedOf: 9..<10)
    }
  }

  @Test func `a closed valve stays closed even for few unknown keys, while no keys are admitted`() {
    var bench = Bench()
    bench.show(0..<20)
    for _ in 0..<100 {
      bench.pass(20)
      bench.expect(0, refusedOf: 0..<1)
    }
  }

  @Test func `up to twice the confirmed number of unknown keys is refused, and one more closes the valve again`() {
    var bench = Bench()
    bench.show(0..<20)
    bench.valve.heard(confirmed: 9)
    #expect(bench.valve.isClosed, "18 are allowed, and there are 20")
    bench.valve.heard(confirmed: 20)
    #expect(!bench.valve.isClosed)
    bench.expect(40, refusedOf: 0..<40)
    bench.expect(0, refusedOf: 40..<41)
    bench.valve.heard(confirmed: 21)
    bench.expect(41, refusedOf: 0..<41)
    bench.valve.heard(confirmed: 0)
    #expect(bench.valve.isClosed, "the confirmation was withdrawn")
    bench.expect(0, refusedOf: 0..<1)
  }

  @Test func `a confirmation that is read again changes nothing`() {
    var bench = Bench()
    bench.valve.heard(confirmed: 5)
    bench.show(0..<11)
    #expect(bench.valve.isClosed)
    bench.valve.heard(confirmed: 5)
    #expect(bench.valve.isClosed)
  }

  @Test func `minimum and share are options, and with a share of 100 there are no refusal storms`() {
    var bench = Bench(minimum: 3, share: 90)
    bench.admit(0..<2)
    bench.expect(18, refusedOf: 0..<18)
    bench.expect(0, refusedOf: 18..<19)
    bench = Bench(share: 100)
    bench.expect(1_000, refusedOf: 0..<1_000)
  }
}
