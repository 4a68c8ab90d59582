// Connections take turns, a batch of them at a time. Between two batches the event loop has time for everything else.

import ClientAddress
import NIOCore
import NIOEmbedded
import NIOPosix
import Testing

@testable import IngestNode

@Suite struct ConnectionTurnsTests {
  private final class Worker: TurnTaking {
    private let turns: ConnectionTurns
    private var left: Int
    private let work: () -> Void
    private let owner: TurnOwner?
    let isProven: Bool
    var turnOwner: TurnOwner { owner ?? .connection(ObjectIdentifier(self)) }

    init(
      in turns: ConnectionTurns, turns left: Int, of owner: TurnOwner? = nil, isProven: Bool = false,
      _ work: @escaping () -> Void
    ) {
      self.owner = owner
      self.isProven = isProven
      self.turns = turns
      self.left = left
      self.work = work
      turns.add(self)
    }

    func goOn() {
      work()
      left -= 1
      if left > 0 { turns.add(self) }
    }
  }

  @Test func `few go on in one batch, and those that aren't done again come behind all others`() {
    let loop = EmbeddedEventLoop()
    let turns = ConnectionTurns(on: loop)
    var order: [Int] = []
    let workers = (0..<160).map { number in Worker(in: turns, turns: 2) { order.append(number) } }
    loop.run()
    #expect(order.isEmpty)
    for (batch, count) in [64, 128, 192, 256, 320].enumerated() {
      loop.advanceTime(by: .microseconds(250))
      #expect(order.count == count, "batch \(batch)")
    }
    #expect(order == Array(0..<160) + Array(0..<160) && turns.isEmpty)
    withExtendedLifetime(workers) {}
  }

  @Test func `owners have turns, whatever number of connections each has, and every second is one who has shown a key`()
  {
    let loop = EmbeddedEventLoop()
    let turns = ConnectionTurns(on: loop)
    var order: [String] = []
    func address(_ last: Int) -> TurnOwner {
      guard let address = IPAddress(text: Array("192.0.2.\(last)".utf8).span.bytes) else { fatalError("an address") }
      return .network(address)
    }
    var workers: [Worker] = []
    for _ in 0..<1_000 { workers.append(Worker(in: turns, turns: 9, of: address(1)) { order.append("crowd") }) }
    workers.append(Worker(in: turns, turns: 4, of: address(2)) { order.append("stranger") })
    for _ in 0..<100 {
      workers.append(Worker(in: turns, turns: 9, of: .account("a"), isProven: true) { order.append("a") })
    }
    workers.append(Worker(in: turns, turns: 4, of: .account("b"), isProven: true) { order.append("b") })
    #expect(turns.stepsNow(isProven: true) == ConnectionTurns.stepsOfRead)
    loop.advanceTime(by: .milliseconds(1))
    let round = ["a", "crowd", "b", "stranger"]
    #expect(Array(order.prefix(16)) == round + round + round + round)
    withExtendedLifetime(workers) {}
  }

  @Test func `strangers that wait leave those who have shown a key all their steps`() {
    let loop = EmbeddedEventLoop()
    let turns = ConnectionTurns(on: loop)
    let stranger = Worker(in: turns, turns: 2) {}
    #expect(turns.stepsNow(isProven: true) == ConnectionTurns.steps)
    #expect(turns.stepsNow(isProven: false) == ConnectionTurns.stepsOfRead)
    let proven = Worker(in: turns, turns: 2, of: .account("a"), isProven: true) {}
    #expect(turns.stepsNow(isProven: true) == ConnectionTurns.stepsOfRead)
    withExtendedLifetime([stranger, proven]) {}
  }

  @Test func `in a pass that has lasted for long an owner's connections wait for turns, and another's go on`()
    async throws
  {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let result = loop.makePromise(of: (short: Bool, crowd: Int, other: Bool, next: Bool).self)
    loop.execute {
      let turns = ConnectionTurns(on: loop)
      let crowd = Idler(of: .account("crowd"))
      let other = Idler(of: .account("other"))
      // Enough turns for the pass to be timed.
      let isShort = (0..<1_000).allSatisfy { _ in turns.mayGoOnNow(crowd) }
      let end = loop.now + .milliseconds(20)
      while loop.now < end {}
      let admitted = (0..<1_000).count { _ in turns.mayGoOnNow(crowd) }
      let othersGoOn = turns.mayGoOnNow(other)
      loop.assumeIsolated().execute { result.succeed((isShort, admitted, othersGoOn, turns.mayGoOnNow(crowd))) }
    }
    let (isShort, admitted, othersGoOn, next) = try await result.futureResult.get()
    #expect(isShort)
    // Some before the clock is read again.
    #expect((4..<64).contains(admitted))
    #expect(othersGoOn)
    #expect(next, "it counts anew in the next pass")
    try await group.shutdownGracefully()
  }

  private final class Idler: TurnTaking {
    let turnOwner: TurnOwner
    let isProven = true
    init(of owner: TurnOwner) { turnOwner = owner }
    func goOn() {}
  }

  /// By the real clock: what counts is how a costly step, the end of a batch and the pause behind it follow each other.
  @Test func `however long a step takes, none follows it without a pause`() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let (workers, turnsOfEach) = (3, 4)
    let done = loop.makePromise(of: [(begin: NIODeadline, end: NIODeadline)].self)
    loop.execute {
      let turns = ConnectionTurns(on: loop)
      var spans: [(begin: NIODeadline, end: NIODeadline)] = []
      for _ in 0..<workers {
        _ = Worker(in: turns, turns: turnsOfEach) {
          let begin = NIODeadline.now()
          var end = begin
          while end < begin + .milliseconds(2) { end = .now() }
          spans.append((begin, end))
          if spans.count == workers * turnsOfEach { done.succeed(spans) }
        }
      }
    }
    let spans = try await done.futureResult.get()
    for (former, next) in zip(spans, spans.dropFirst()) {
      #expect(next.begin >= former.end + .microseconds(250), "the event loop looks at its sockets in between")
    }
    try await group.shutdownGracefully()
  }
}
