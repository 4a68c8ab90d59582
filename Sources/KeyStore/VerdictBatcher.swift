// Passes the questions of one event loop to the replica, and the answers back. All questions of one turn of the loop
// are passed together, and so are all answers of one turn of the replica's loop. Requests with unknown keys often
// arrive many at a time. A hop to another thread and back for each of them, with two wakeups, would cost as much as the
// rest of its refusal.

public import KeyReplica
public import NIOCore

/// Gets verdicts for one event loop.
public final class VerdictBatcher: Sendable {
  /// Asks the replica about keys, on the replica's event loop. `answer` is called there once for each key.
  typealias Ask = @Sendable (_ keys: [KeyID], _ answer: @escaping (_ place: Int, Verdict) -> Void) -> Void

  private struct Asked {
    var keys: [KeyID] = []
    var promises: [EventLoopPromise<Verdict>] = []
  }

  private let eventLoop: any EventLoop
  private let replicaLoop: any EventLoop
  private let ask: Ask
  /// The questions of the current turn.
  private let asked: NIOLoopBoundBox<Asked>

  /// - Parameters:
  ///   - eventLoop: The event loop of the questions.
  ///   - replicaLoop: The event loop of the replica.
  init(for eventLoop: any EventLoop, askingOn replicaLoop: any EventLoop, _ ask: @escaping Ask) {
    self.eventLoop = eventLoop
    self.replicaLoop = replicaLoop
    self.ask = ask
    asked = .makeBoxSendingValue(Asked(), eventLoop: eventLoop)
  }

  /// The verdict on a key, as ``ReplicaDriver/verdict(of:)`` returns it. Only on the event loop of this batcher.
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

/// The answers to questions that were passed together. Used on the replica's event loop.
private final class Answers {
  private let promises: [EventLoopPromise<Verdict>]
  private let eventLoop: any EventLoop
  private let replicaLoop: any EventLoop
  /// The answers of the current turn.
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
