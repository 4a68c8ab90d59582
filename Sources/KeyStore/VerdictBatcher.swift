// The questions of one event loop to the replica, and the answers back. What is asked in one turn of the loop goes over as one, and so do the
// answers that are given in one turn of the replica's: who knocks with keys that nobody knows comes in crowds, and a way over to
// another thread and back for each of them, with a wakeup each time, cost as much as all the rest of its refusal.

public import KeyReplica
public import NIOCore

/// Where one event loop asks for verdicts.
public final class VerdictBatcher: Sendable {
  /// Asks the replica about keys, on its own event loop; `answer` is called there once for each.
  typealias Ask = @Sendable (_ keys: [KeyID], _ answer: @escaping (_ place: Int, Verdict) -> Void) -> Void

  private struct Asked {
    var keys: [KeyID] = []
    var promises: [EventLoopPromise<Verdict>] = []
  }

  private let eventLoop: any EventLoop
  private let replicaLoop: any EventLoop
  private let ask: Ask
  /// In this turn.
  private let asked: NIOLoopBoundBox<Asked>

  /// - Parameters:
  ///   - eventLoop: The one that asks.
  ///   - replicaLoop: The one that answers.
  init(for eventLoop: any EventLoop, askingOn replicaLoop: any EventLoop, _ ask: @escaping Ask) {
    self.eventLoop = eventLoop
    self.replicaLoop = replicaLoop
    self.ask = ask
    asked = .makeBoxSendingValue(Asked(), eventLoop: eventLoop)
  }

  /// The verdict for a key, as ``ReplicaDriver/verdict(of:)`` gives it. Only on the event loop that the desk is for.
  public func verdict(of key: KeyID) -> EventLoopFuture<Verdict> {
    let promise = eventLoop.makePromise(of: Verdict.self)
    asked.value.keys.append(key)
    asked.value.promises.append(promise)
    if asked.value.keys.count == 1 { eventLoop.execute { self.goOver() } }
    return promise.futureResult
  }

  private func goOver() {
    let asked = asked.value
    self.asked.value = Asked()
    replicaLoop.execute { [eventLoop, replicaLoop, ask] in
      let answers = Answers(to: asked.promises, on: eventLoop, gatheredOn: replicaLoop)
      ask(asked.keys) { answers.add($1, at: $0) }
    }
  }
}

/// What is answered to the questions that came over together. On the replica's event loop.
private final class Answers {
  private let promises: [EventLoopPromise<Verdict>]
  private let eventLoop: any EventLoop
  private let replicaLoop: any EventLoop
  /// In this turn.
  private var given: [(place: Int, verdict: Verdict)] = []

  init(to promises: [EventLoopPromise<Verdict>], on eventLoop: any EventLoop, gatheredOn replicaLoop: any EventLoop) {
    self.promises = promises
    self.eventLoop = eventLoop
    self.replicaLoop = replicaLoop
  }

  func add(_ verdict: Verdict, at place: Int) {
    given.append((place, verdict))
    if given.count == 1 { replicaLoop.assumeIsolated().execute { self.goBack() } }
  }

  private func goBack() {
    let (given, promises) = (given, promises)
    self.given = []
    eventLoop.execute { for (place, verdict) in given { promises[place].succeed(verdict) } }
  }
}
