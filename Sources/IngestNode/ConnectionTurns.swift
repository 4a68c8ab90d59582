// Who has had enough of an event loop's time for now. A read of 64 KiB can hold 2,500 small requests, and each of them is answered in
// microseconds; but a few hundred connections that send such reads kept the event loop from everything else for seconds: from other
// clients, and from Redis's answers, which then counted as late. So a connection does a bounded number of steps in a turn, and the rest
// later: a few connections at a time, with the event loop's other work in between.
//
// Rejected: `EventLoop.execute`. NIO runs all tasks, those that tasks add included, before it looks at sockets again.

internal import DequeModule
internal import NIOCore

/// The connections of one event loop that go on later. Lives on that event loop.
final class ConnectionTurns {
  /// Steps of a connection's machine in one turn; a small request has three or four.
  static let steps = 64
  /// Connections that go on, one after the other, before the event loop does something else.
  private static let connections = 16
  /// Until the next ones go on: long enough for the event loop to look at its sockets in between.
  private static let pause = TimeAmount.milliseconds(1)

  private let eventLoop: any EventLoop
  private var waiting: Deque<PushConnection> = []
  private var isScheduled = false

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  var isEmpty: Bool { waiting.isEmpty }

  func add(_ connection: PushConnection) {
    waiting.append(connection)
    schedule()
  }

  private func schedule() {
    guard !isScheduled, !waiting.isEmpty else { return }
    isScheduled = true
    eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
      self.isScheduled = false
      // Those that aren't done again come behind all others.
      for _ in 0..<min(Self.connections, self.waiting.count) { self.waiting.popFirst()?.goOn() }
      self.schedule()
    }
  }
}
