// Who has had enough of an event loop's time for now. A read of 64 KiB can hold 2,500 small requests, and each of them is answered in
// microseconds; but a few hundred connections that send such reads kept the event loop from everything else for seconds: from other
// clients, and from Redis's answers, which then counted as late. So a connection does a bounded number of steps in a turn, and the rest
// later: a few connections at a time, with the event loop's other work in between.
//
// What a connection does when a read comes isn't in any batch: a push mustn't wait behind those that want more. But
// thousands of connections may have such a read before the event loop looks at its sockets again. So while some wait, a
// read gets as many steps as one push needs, and what comes behind that waits as well.
//
// The pause counts from the end of a batch. It used to count from the moment at which the first connection of a batch
// asked for more. It was over before a batch of costly requests was, so the next batch followed at once, and the event
// loop looked at no socket for seconds.
//
// Rejected: `EventLoop.execute`. NIO runs all tasks, those that tasks add included, before it looks at sockets again.

internal import DequeModule
internal import NIOCore

/// Who may have more to do than it does in one turn.
protocol TurnTaking: AnyObject {
  /// Its turn has come again. It does a bounded part of its work, and adds itself again if that wasn't all.
  func goOn()
}

/// The connections of one event loop that go on later. Lives on that event loop.
final class ConnectionTurns {
  /// Steps of a connection's machine in one turn; a small request has three or four.
  static let steps = 64
  /// The same for what a read brings while others wait for a turn: one push.
  static let stepsOfRead = 8
  /// Connections that go on, one after the other, before the event loop does something else.
  private static let connections = 16
  /// For how long they do, but for the one that is at it then: steps differ in cost by a hundred times.
  private static let batch = TimeAmount.milliseconds(1)
  /// Until the next ones go on: long enough for the event loop to look at its sockets in between.
  private static let pause = TimeAmount.milliseconds(1)

  private let eventLoop: any EventLoop
  private var waiting: Deque<any TurnTaking> = []
  private var isScheduled = false

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  var isEmpty: Bool { waiting.isEmpty }

  /// How many steps a connection may do that hasn't waited for a turn.
  var stepsNow: Int { waiting.isEmpty ? Self.steps : Self.stepsOfRead }

  func add(_ connection: any TurnTaking) {
    waiting.append(connection)
    schedule()
  }

  private func schedule() {
    guard !isScheduled, !waiting.isEmpty else { return }
    isScheduled = true
    eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
      self.runBatch()
      // Not before: a connection that adds itself during the batch mustn't start the pause.
      self.isScheduled = false
      self.schedule()
    }
  }

  private func runBatch() {
    let end = eventLoop.now + Self.batch
    // Those that aren't done again come behind all others.
    for _ in 0..<min(Self.connections, waiting.count) {
      waiting.popFirst()?.goOn()
      if eventLoop.now >= end { return }
    }
  }
}
