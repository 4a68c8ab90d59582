// One request's state, without a connection: every order of events ends in at most one answer.

import IngestQueue
import KeyReplica
import Testing

@testable import IngestNode

@Suite struct ExchangeStateTests {
  /// Something that happens to a request.
  private enum Event: CaseIterable {
    case admitted, wholeAdmitted, rejected, rejectedInChunks, body, muchBody, ended, counted, taken, notTaken
  }

  /// The action after an event, as one word.
  private func act(_ event: Event, on state: inout ExchangeState) -> String {
    switch event {
    case .admitted: word(state.admitted(isWhole: false))
    case .wholeAdmitted: word(state.admitted(isWhole: true))
    case .rejected: word(state.reject(.notFound, receivesChunks: false))
    case .rejectedInChunks: word(state.reject(.notFound, receivesChunks: true))
    case .body: word(state.received(1, discardingAtMost: 10))
    case .muchBody: word(state.received(11, discardingAtMost: 10))
    case .ended: word(state.ended())
    case .counted: word(state.counted())
    case .taken: word(state.enqueued(.success(ScriptedGate.id)))
    case .notTaken: word(state.enqueued(.failure(.unavailable(.queueFull))))
    }
  }

  private func word(_ action: ExchangeState.Action) -> String {
    switch action {
    case .answer(.accepted): "202"
    case .answer(.active): "active"
    case .answer(.preflight): "preflight"
    case .answer(.rejected(.notFound)): "404"
    case .answer(.rejected): "503"
    default: "\(action)"
    }
  }

  private func word(_ use: ExchangeState.BodyUse) -> String {
    if case .answer = use { "404" } else { "\(use)" }
  }

  private func run(_ purpose: Route.Purpose, _ events: [Event]) -> [String] {
    var state = ExchangeState(purpose)
    return events.map { act($0, on: &state) }
  }

  @Test func `a push is enqueued when its key is active and it is whole, in whichever order that comes`() {
    #expect(run(.push, [.admitted, .body, .ended, .taken]) == ["welcomeBody", "keep", "enqueue", "202"])
    #expect(run(.push, [.body, .ended, .wholeAdmitted, .notTaken]) == ["keep", "findKey", "enqueue", "503"])
  }

  @Test func `a batch is counted first, a probe is answered, and a preflight needs no key`() {
    #expect(run(.batch, [.admitted, .ended, .counted, .taken]) == ["welcomeBody", "countEvents", "enqueue", "202"])
    #expect(run(.probe, [.admitted, .body, .ended]) == ["none", "discard", "active"])
    #expect(run(.preflight, [.body, .ended]) == ["discard", "preflight"])
  }

  @Test func `what isn't taken is said at once, or at the end of a body of unknown length, or when that is too much`() {
    #expect(run(.push, [.rejected, .body, .ended]) == ["404", "discard", "none"])
    #expect(run(.push, [.rejectedInChunks, .body, .ended]) == ["discardBody", "discard", "404"])
    #expect(
      run(.push, [.admitted, .rejectedInChunks, .muchBody, .ended]) == ["welcomeBody", "discardBody", "404", "none"])
  }

  @Test func `in no order of events is a request answered twice or enqueued twice, or enqueued once it is answered`() {
    let ends: Set = ["202", "404", "503", "active", "preflight"]
    var orders = 0
    func go(_ purpose: Route.Purpose, _ state: ExchangeState, _ done: [String], _ depth: Int) {
      if depth == 0 {
        orders += 1
        let answers = done.filter(ends.contains)
        #expect(answers.count <= 1, "\(purpose): \(done)")
        #expect(done.count { $0 == "enqueue" } <= 1, "\(purpose): \(done)")
        if let answered = done.firstIndex(where: ends.contains) {
          #expect(!done[answered...].contains { $0 == "enqueue" || $0 == "countEvents" || $0 == "keep" }, "\(done)")
        }
        return
      }
      for event in Event.allCases {
        var next = state
        let did = act(event, on: &next)
        go(purpose, next, done + [did], depth - 1)
      }
    }
    for purpose in [Route.Purpose.push, .batch, .probe, .preflight] { go(purpose, ExchangeState(purpose), [], 4) }
    #expect(orders == 4 * 10_000)
  }
}
