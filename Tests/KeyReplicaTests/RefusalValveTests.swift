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

    /// - Returns: How many of these unknown keys were refused.
    @discardableResult
    mutating func show(_ numbers: Range<Int>) -> Int {
      var refused = 0
      for number in numbers where valve.mayRefuse(KeyID(secret: "bad \(number)".utf8)) { refused += 1 }
      return refused
    }

    /// Expects so many of these unknown keys to be refused.
    mutating func expect(
      _ number: Int, refusedOf numbers: Range<Int>, _ comment: Comment? = nil,
      at location: SourceLocation = #_sourceLocation
    ) {
      let refused = show(numbers)
      #expect(refused == number, comment, sourceLocation: location)
    }
  }

  @Test func `the tenth distinct unknown key closes it, and isn't refused itself`() {
    var bench = Bench()
    bench.expect(9, refusedOf: 0..<9)
    bench.expect(9, refusedOf: 0..<9, "the same keys again")
    #expect(!bench.valve.isClosed)
    bench.expect(0, refusedOf: 9..<10)
    #expect(bench.valve.isClosed)
    bench.expect(0, refusedOf: 0..<30)
    #expect(bench.valve.counts == RecentKeyCounts(unknown: 30, admitted: 0, confirmed: 0, isStorm: true))
  }

  @Test func `as long as more keys are admitted it stays open`() {
    var bench = Bench()
    bench.admit(0..<100)
    bench.expect(100, refusedOf: 0..<100)
    bench.expect(0, refusedOf: 100..<101)
    #expect(bench.valve.isClosed)
  }

  @Test func `one unknown key that hammers doesn't close it`() {
    var bench = Bench()
    for _ in 0..<10_000 { bench.expect(1, refusedOf: 0..<1) }
  }

  @Test func `ten unknown keys in more than a window don't close it`() {
    var bench = Bench()
    for number in 0..<100 {
      bench.expect(1, refusedOf: number..<number + 1)
      bench.pass(7)
    }
  }

  @Test func `it stays closed while the same clients go on, for hours`() {
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

  @Test func `it stays closed while unknown keys are more than half of the admitted ones, and opens then`() {
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

  @Test func `what the window says, its later half must say as well`() {
    var bench = Bench()
    bench.show(0..<20)
    bench.admit(0..<1_000)
    bench.pass(30)
    bench.show(0..<20)
    bench.pass(30)
    #expect(bench.valve.isClosed, "of the last half nothing is known but unknown keys")
    bench.admit(0..<1_000)
    bench.pass(30)
    #expect(!bench.valve.isClosed)
  }

  @Test func `it opens when a window passed without unknown keys, whether there were events in it or not`() {
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

  @Test func `few unknown keys alone keep it closed`() {
    var bench = Bench()
    bench.show(0..<20)
    for _ in 0..<100 {
      bench.pass(20)
      bench.expect(0, refusedOf: 0..<1)
    }
  }

  @Test func `up to twice the confirmed number are refused, and one more closes it again`() {
    var bench = Bench()
    bench.show(0..<20)
    bench.valve.heard(confirmed: 9)
    #expect(bench.valve.isClosed, "18 are fewer than there are")
    bench.valve.heard(confirmed: 20)
    #expect(!bench.valve.isClosed)
    bench.expect(40, refusedOf: 0..<40)
    bench.expect(0, refusedOf: 40..<41)
    bench.valve.heard(confirmed: 21)
    bench.expect(41, refusedOf: 0..<41)
    bench.valve.heard(confirmed: 0)
    #expect(bench.valve.isClosed, "taken back")
    bench.expect(0, refusedOf: 0..<1)
  }

  @Test func `a confirmation that is heard again changes nothing`() {
    var bench = Bench()
    bench.valve.heard(confirmed: 5)
    bench.show(0..<11)
    #expect(bench.valve.isClosed)
    bench.valve.heard(confirmed: 5)
    #expect(bench.valve.isClosed)
  }

  @Test func `minimum and share are options, and a share of 100 turns it off`() {
    var bench = Bench(minimum: 3, share: 90)
    bench.admit(0..<2)
    bench.expect(18, refusedOf: 0..<18)
    bench.expect(0, refusedOf: 18..<19)
    bench = Bench(share: 100)
    bench.expect(1_000, refusedOf: 0..<1_000)
  }
}
