// Divides an event loop's time between connections. A read of 64 KiB can contain 2,500 small requests, and each is
// answered in microseconds. But a few hundred connections with such reads kept the event loop from everything else for
// seconds: from other clients, and from Redis's replies, which then counted as late. So a connection does a bounded
// number of steps in a turn and the rest later: a few connections at a time, with the event loop's other work in
// between.
//
// The steps after a read aren't part of any batch, because a push mustn't wait behind connections with more work. But
// thousands of connections may have such a read before the event loop looks at its sockets again. So while some
// connections wait, a read gets as many steps as one push needs, and the rest of its bytes wait as well.
//
// Owners take turns, not connections, because anybody can open thousands of connections. Every second turn goes to an
// owner that has sent an active key, however many owners without one (strangers) wait, and from however many networks.
// With one queue for all, strangers that kept requests without a key waiting on 2,400 connections delayed a push in
// many chunks by 16 seconds.
//
// The pause begins at the end of a batch. In an earlier version it began when the first connection of a batch asked for
// more. Then it was over before a batch of costly requests was. The next batch followed at once, and the event loop
// looked at no socket for seconds.
//
// A pass is the event loop's work between two looks at its sockets: up to 4,096 sockets and then all tasks. Even with
// one push for each, a pass over an attacker's thousands of connections took a second, and everybody else waited, new
// connections included. So once a pass has lasted for 10 ms, each owner may go on a few times in the rest of it, and
// its other connections wait for turns. Their work before that is bounded by the 10 ms, and most passes are shorter.
//
// Rejected: `EventLoop.execute`. NIO runs all tasks, including those that tasks add, before it looks at sockets again.

internal import ClientAddress
internal import NIOCore

/// The owner of connections that take turns as one.
enum TurnOwner: Hashable {
  /// An active key of this account was sent.
  case account(String)
  /// No active key was sent.
  case network(IPAddress)
  /// A single connection: a proxy's with many clients' requests, or one with an unknown client.
  case connection(ObjectIdentifier)
}

/// A connection that may have more work than one turn allows.
protocol TurnTaking: AnyObject {
  var turnOwner: TurnOwner { get }
  /// Whether the connection has sent an active key.
  var isProven: Bool { get }

  /// Called when its turn begins. The connection does a bounded part of its work, and adds itself again if more is
  /// left.
  func goOn()
}

/// The connections of one event loop that wait for a turn. Used only on that event loop.
final class ConnectionTurns {
  /// Maximum steps of a connection's state machine in one turn; a small request has three or four.
  static let steps = 64
  /// Maximum steps after a read while other connections wait for a turn: enough for one push.
  static let stepsOfRead = 8
  /// Maximum connections that have their turns in one batch, before the event loop does other work.
  private static let connections = 64
  /// Maximum time of a batch, after which only the connection in progress ends its steps: the costs of steps differ by
  /// a factor of a hundred.
  private static let batch = TimeAmount.milliseconds(1)
  /// Pause between two batches: long enough for the event loop to look at its sockets.
  private static let pause = TimeAmount.microseconds(250)
  /// A pass that lasts longer than this counts as long.
  private static let longPass = TimeAmount.milliseconds(10)
  /// Maximum times that an owner's connections may go on in the rest of a long pass without having waited.
  private static let goesInLongPass = 4

  private let eventLoop: any EventLoop
  private var proven = TurnQueue<TurnOwner, any TurnTaking>()
  private var strangers = TurnQueue<TurnOwner, any TurnTaking>()
  private var strangersAreNext = false
  private var isScheduled = false

  /// One value, so that each push costs one access to it.
  private var pass = Pass()
  /// Number of turns of each owner's connections since the pass became long.
  private var goesSpent: [TurnOwner: Int] = [:]

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  var isEmpty: Bool { proven.count == 0 && strangers.count == 0 }

  private struct Pass {
    private var goes = 0
    /// The time of its beginning or first check; nil if no pass is being timed.
    var began: NIODeadline?
    var isLong = false

    /// The clock is read once for this number of connections that go on.
    private static let goesBetweenReadings = 32

    /// Counts a connection that goes on.
    /// - Returns: Whether the caller must check further: the pass is long, or it is time to read the clock.
    mutating func count() -> Bool {
      goes &+= 1
      return isLong || goes % Self.goesBetweenReadings == 0
    }
  }

  /// Whether a connection may go on without waiting for a turn. Call it once for each of its events.
  func mayGoOnNow(_ connection: @autoclosure () -> any TurnTaking) -> Bool {
    pass.count() ? mayGoOnInLongPass(connection()) : true
  }

  private func mayGoOnInLongPass(_ connection: any TurnTaking) -> Bool {
    if !pass.isLong { timePass() }
    guard pass.isLong else { return true }
    let spent = goesSpent[connection.turnOwner, default: 0]
    goesSpent[connection.turnOwner] = spent + 1
    return spent < Self.goesInLongPass
  }

  private func timePass() {
    if let began = pass.began {
      if eventLoop.now - began > Self.longPass { pass.isLong = true }
      return
    }
    pass.began = eventLoop.now
    // Runs when all sockets of this pass have had their events.
    eventLoop.assumeIsolated().execute {
      self.pass.began = nil
      self.pass.isLong = false
      self.goesSpent.removeAll(keepingCapacity: true)
    }
  }

  /// Maximum steps of a connection that hasn't waited for a turn.
  /// - Parameter isProven: Whether it has sent an active key. Waiting strangers are no reason to make it wait.
  func stepsNow(isProven: @autoclosure () -> Bool) -> Int {
    isEmpty || proven.count == 0 && isProven() ? Self.steps : Self.stepsOfRead
  }

  func add(_ connection: any TurnTaking) {
    if connection.isProven {
      proven.append(connection, of: connection.turnOwner)
    } else {
      strangers.append(connection, of: connection.turnOwner)
    }
    schedule()
  }

  private func next() -> (any TurnTaking)? {
    defer { strangersAreNext.toggle() }
    return strangersAreNext
      ? strangers.popFirst() ?? proven.popFirst() : proven.popFirst() ?? strangers.popFirst()
  }

  private func schedule() {
    guard !isScheduled, !isEmpty else { return }
    isScheduled = true
    eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
      self.runBatch()
      // Set after the batch: a connection that adds itself during the batch mustn't start the pause.
      self.isScheduled = false
      self.schedule()
    }
  }

  private func runBatch() {
    let end = eventLoop.now + Self.batch
    // Connections that need another turn go behind all others.
    for _ in 0..<min(Self.connections, proven.count + strangers.count) {
      next()?.goOn()
      if eventLoop.now >= end { return }
    }
  }
}
