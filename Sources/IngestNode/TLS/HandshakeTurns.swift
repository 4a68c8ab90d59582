// Divides the part of an event loop's time that TLS handshakes may use. A handshake costs ten to two hundred times as
// much as a push. The limit for one client counts connections when they begin, but the handshake itself is later, when
// the client sends its hello: connections that were opened slowly from five addresses, with all hellos sent at once,
// kept an event loop from all other work for seconds, and from many addresses no limit for one client helps.
//
// So hellos wait for a turn, and after a batch of handshakes the event loop does other work for at least as long as the
// batch took. Networks take turns, so a customer's handshake waits for one handshake of each other network, and not for
// all handshakes of one. A handshake that waits beyond its deadline is closed by ``HandshakeDeadline``.
//
// Rejected: handshakes on other threads. NIOSSL does them on the channel's event loop; and with as many busy threads as
// processors the event loops would get no more time than now.

internal import NIOCore

/// A connection whose handshake may go on in a later turn.
protocol HandshakeTaking: AnyObject {
  var turnOwner: TurnOwner { get }

  /// Called when its turn begins.
  func goOn()
}

/// The handshakes of one event loop that wait for a turn. Used only on that event loop.
final class HandshakeTurns {
  /// Maximum time of a batch, after which only the handshake in progress goes on.
  private static let batch = TimeAmount.milliseconds(2)
  /// Minimum pause between two batches: long enough for the event loop to look at its sockets.
  private static let shortestPause = TimeAmount.microseconds(250)

  private let eventLoop: any EventLoop
  private var queue = TurnQueue<TurnOwner, any HandshakeTaking>()
  private var isPausing = false

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  var count: Int { queue.count }

  /// Lets the handshake go on: at once if no others did so lately, otherwise in a later turn.
  func append(_ handshake: any HandshakeTaking) {
    queue.append(handshake, of: handshake.turnOwner)
    if !isPausing { runBatch() }
  }

  private func runBatch() {
    // A handshake may add another one while it goes on, if its connection gets more bytes meanwhile.
    isPausing = true
    let begun = NIODeadline.now()
    var spent = TimeAmount.zero
    while spent < Self.batch, let handshake = queue.popFirst() {
      handshake.goOn()
      spent = .now() - begun
    }
    eventLoop.assumeIsolated().scheduleTask(in: max(spent, Self.shortestPause)) {
      self.isPausing = false
      if self.queue.count > 0 { self.runBatch() }
    }
  }
}
