// Connections take turns, a batch of them at a time. Between two batches the event loop has time for everything else.

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

    init(in turns: ConnectionTurns, turns left: Int, _ work: @escaping () -> Void) {
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
    let workers = (0..<40).map { number in Worker(in: turns, turns: 2) { order.append(number) } }
    loop.run()
    #expect(order.isEmpty)
    for (batch, count) in [16, 32, 48, 64, 80].enumerated() {
      loop.advanceTime(by: .milliseconds(1))
      #expect(order.count == count, "batch \(batch)")
    }
    #expect(order == Array(0..<40) + Array(0..<40) && turns.isEmpty)
    withExtendedLifetime(workers) {}
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
      #expect(next.begin >= former.end + .milliseconds(1), "the event loop looks at its sockets in between")
    }
    try await group.shutdownGracefully()
  }
}
