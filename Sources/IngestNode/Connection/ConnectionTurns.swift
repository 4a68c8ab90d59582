// Who has had enough of an event loop's time for now. A read of 64 KiB can hold 2,500 small requests, and each of them is answered in
// microseconds; but a few hundred connections that send such reads kept the event loop from everything else for seconds: from other
// clients, and from Redis's answers, which then counted as late. So a connection does a bounded number of steps in a turn, and the rest
// later: a few connections at a time, with the event loop's other work in between.
//
// What a connection does when a read comes isn't in any batch: a push mustn't wait behind those that want more. But
// thousands of connections may have such a read before the event loop looks at its sockets again. So while some wait, a
// read gets as many steps as one push needs, and what comes behind that waits as well.
//
// Turns go by owners and not by connections: anybody can open thousands. And every second turn is one of those who have
// shown an active key, however many strangers wait, and from however many networks. With one queue for all, strangers
// that kept requests without a key ahead on 2,400 connections held up a push in many chunks for 16 seconds.
//
// The pause counts from the end of a batch. It used to count from the moment at which the first connection of a batch
// asked for more. It was over before a batch of costly requests was, so the next batch followed at once, and the event
// loop looked at no socket for seconds.
//
// A pass is what the event loop does between two looks at its sockets: up to 4,096 sockets and then all tasks. Even
// with one push for each, a pass over an attacker's thousands took a second, and everybody else waited for it, new
// connections included. So once a pass has lasted for 10 ms each owner has a few goes left in it, and its other
// connections wait for turns. What they have done before that is bounded by the 10 ms, and most passes are shorter.
//
// Rejected: `EventLoop.execute`. NIO runs all tasks, those that tasks add included, before it looks at sockets again.

internal import ClientAddress
internal import NIOCore

/// Whose connections take turns as one.
enum TurnOwner: Hashable {
  /// An active key of it was shown.
  case account(String)
  /// No key was shown.
  case network(IPAddress)
  /// It stands for itself: a proxy's, on which many clients' requests come, or one whose client isn't known.
  case connection(ObjectIdentifier)
}

/// Who may have more to do than it does in one turn.
protocol TurnTaking: AnyObject {
  var turnOwner: TurnOwner { get }
  /// Whether an active key was shown on it.
  var isProven: Bool { get }

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
  private static let connections = 64
  /// For how long they do, but for the one that is at it then: steps differ in cost by a hundred times.
  private static let batch = TimeAmount.milliseconds(1)
  /// Until the next ones go on: long enough for the event loop to look at its sockets in between.
  private static let pause = TimeAmount.microseconds(250)
  /// A pass that lasts for longer is long.
  private static let longPass = TimeAmount.milliseconds(10)
  /// How often an owner's connections may go on in the rest of a long pass without having waited.
  private static let goesInLongPass = 4

  private let eventLoop: any EventLoop
  private var proven = TurnQueue<TurnOwner, any TurnTaking>()
  private var strangers = TurnQueue<TurnOwner, any TurnTaking>()
  private var strangersAreNext = false
  private var isScheduled = false

  /// One value, so that each push costs one access to it.
  private var pass = Pass()
  /// How often each owner's connections have gone on in a long pass since it is one.
  private var goesSpent: [TurnOwner: Int] = [:]

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  var isEmpty: Bool { proven.count == 0 && strangers.count == 0 }

  private struct Pass {
    private var goes = 0
    /// When it began, or was first looked at; nil where none is being timed.
    var began: NIODeadline?
    var isLong = false

    /// The clock is read once for so many connections that go on.
    private static let goesBetweenReadings = 32

    /// Counts a connection that goes on.
    /// - Returns: Whether there is more to be asked: it is long, or it is time to look.
    mutating func count() -> Bool {
      goes &+= 1
      return isLong || goes % Self.goesBetweenReadings == 0
    }
  }

  /// Whether a connection may go on that hasn't waited for a turn. To be asked once for each thing that happens to it.
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

  /// How many steps a connection may do that hasn't waited for a turn.
  /// - Parameter isProven: Whether an active key was shown on it. Strangers that wait are no reason to make it wait.
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
      // Not before: a connection that adds itself during the batch mustn't start the pause.
      self.isScheduled = false
      self.schedule()
    }
  }

  private func runBatch() {
    let end = eventLoop.now + Self.batch
    // Those that aren't done again come behind all others.
    for _ in 0..<min(Self.connections, proven.count + strangers.count) {
      next()?.goOn()
      if eventLoop.now >= end { return }
    }
  }
}
