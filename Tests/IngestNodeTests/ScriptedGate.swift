// The push handler as a test scripts it: the verdict on each key, the outcome of each payload, and whether a verdict or
// outcome is returned at once, when the test wants it, or never. There is no Redis and no mirror: these tests are about
// what a connection does with each verdict and outcome.

import ClientAddress
import IngestQueue
import KeyReplica
import NIOCore
import Synchronization

@testable import IngestNode

/// A push handler that answers as a test scripts it.
final class ScriptedGate: PushHandling {
  /// What is known of a key.
  enum Opinion: Sendable {
    /// It is admitted without asking anybody.
    case admits(account: String)
    /// The verdict is there as soon as somebody asks.
    case says(Verdict)
    /// The verdict comes when the test says so, or never.
    case ponders(Verdict)
  }

  typealias Outcome = PushOutcome

  /// What becomes of what is pushed.
  enum PendingEnqueue: Sendable {
    case now(Outcome)
    /// It comes when the test says so, or never.
    case later(Outcome)
  }

  /// What was pushed.
  struct Push: Sendable {
    let request: PushRequest
    let key: KeyID
    let account: String
  }

  private struct State {
    var opinions: [KeyID: Opinion] = [:]
    var handovers: [KeyID: PendingEnqueue] = [:]
    var asked: [KeyID] = []
    var pushes: [Push] = []
    var unsaid: [@Sendable () -> Void] = []
  }

  let eventLoop: any EventLoop
  private let state = Mutex(State())

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  /// The answer to every push, unless another ID is given.
  static let id = EnvelopeID(keyID: [], idempotencyKey: [])
  static let proof = Proof(epoch: "e1", version: 7, asOf: Instant(nanoseconds: 0))
  static let unknown = Verdict.refuse(.unknownKey, proof)

  /// Writes down what is known of a key. Of a key that nothing is written about it is proven that nobody knows it.
  func script(_ key: String, _ opinion: Opinion, _ handover: PendingEnqueue = .now(.success(ScriptedGate.id))) {
    state.withLock { state in
      state.opinions[KeyID(secret: key.utf8)] = opinion
      state.handovers[KeyID(secret: key.utf8)] = handover
    }
  }

  var pushes: [Push] { state.withLock(\.pushes) }
  /// The bodies that were pushed, as text.
  var payloads: [String] { pushes.map { String(buffer: $0.request.body) } }
  /// The keys whose verdicts were asked for.
  var asked: [KeyID] { state.withLock(\.asked) }
  /// How many verdicts and outcomes are awaited.
  var unsaid: Int { state.withLock(\.unsaid.count) }

  /// Says one of those that are awaited.
  /// - Returns: Whether there was one.
  @discardableResult func say(_ index: Int = 0) -> Bool {
    let next = state.withLock { state in
      state.unsaid.indices.contains(index) ? state.unsaid.remove(at: index) : nil
    }
    next?()
    return next != nil
  }

  // MARK: PushHandling

  func admits(_ key: KeyID) -> String? {
    guard case .admits(let account) = state.withLock({ $0.opinions[key] }) else { return nil }
    return account
  }

  func verdict(of key: KeyID, from sender: IPAddress?) -> EventLoopFuture<Verdict> {
    let promise = eventLoop.makePromise(of: Verdict.self)
    let opinion = state.withLock { state in
      state.asked.append(key)
      return state.opinions[key]
    }
    switch opinion {
    case .says(let verdict): promise.succeed(verdict)
    case .ponders(let verdict): state.withLock { $0.unsaid.append { promise.succeed(verdict) } }
    case .admits(let account): promise.succeed(.admit(account: account))
    case nil: promise.succeed(Self.unknown)
    }
    return promise.futureResult
  }

  func push(_ exchange: Exchange, for sender: any PushResponder) {
    guard let key = exchange.key, let account = exchange.account else {
      preconditionFailure("a payload was handed over whose key isn't admitted")
    }
    let (number, request) = (exchange.number, exchange.request)
    let handover = state.withLock { state in
      state.pushes.append(Push(request: request, key: key, account: account))
      return state.handovers[key]
    }
    switch handover {
    case .now(let outcome): sender.handedOver(number, outcome)
    case .later(let outcome):
      let sender = NIOLoopBound(sender, eventLoop: eventLoop)
      state.withLock {
        $0.unsaid.append { [eventLoop] in
          // Tests with real sockets say it from elsewhere.
          if eventLoop.inEventLoop {
            sender.value.handedOver(number, outcome)
          } else {
            eventLoop.execute { sender.value.handedOver(number, outcome) }
          }
        }
      }
    case nil: sender.handedOver(number, .success(Self.id))
    }
  }
}
