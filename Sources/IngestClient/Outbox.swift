// Decides what is sent and when: the client's whole behaviour as a value without I/O, clock or tasks. Payloads, answers
// and times are its input; steps and events are its output. `IngestClient` carries out the steps, and tests simulate
// hours in no time.
//
// Two conditions delay sending. They are separate because they mean different things:
//
// - A *failure* means "not now". The payload waits for its own backoff, and the whole client pauses too: until a
//   payload that was sent after the failure succeeds, only one request at a time is tried. Without the client's pause,
//   a full buffer would be sent to a server that is down, one payload after the other. Without the payload's own
//   backoff, the client would try the same failing payload again and again.
// - A *refusal* (401, 403) concerns the key, and so every payload. Twice (2013 and 2014), clients that shut themselves
//   down on one 401 turned minutes of a wrong answer into days of lost data. Here a refusal begins a *doubt*: only one
//   payload is retried, at growing intervals; the others are kept. The client disengages only if every answer for the
//   whole patience was a refusal. Even then it retries, but rarely.
//
// For both, only payloads that were *sent after* the failure or refusal count. Eight requests that were in flight
// together and fail together are one failure. A payload that was accepted before the key was revoked says nothing.
//
// Rejected: a timer that disengages. The last answer before giving up must be a refusal, not silence.

internal import DequeModule
internal import HeapModule

struct Outbox {
  /// Time since the client was created.
  typealias Moment = Duration

  /// One payload to be sent now.
  struct Sending: Sendable, Equatable {
    let number: UInt64
    let payload: IngestClient.Payload
  }

  /// The next step.
  enum Step: Equatable {
    case send(Sending)
    /// Do nothing until an answer, a new payload, or this time, if there is one. It is later than now.
    case wait(until: Moment?)
    /// The drain's deadline has passed: cancel all requests, and report their results.
    case cancelInFlight
    case ended
  }

  enum Event {
    case delivered(UInt64, IngestClient.Delivery)
    case undelivered(UInt64, IngestClient.Undelivered)
    case became(IngestClient.State)
    /// Failures began after a time without any.
    case faltered(IngestClient.Failure)
  }

  private struct Entry {
    let payload: IngestClient.Payload
    /// By the clock that stops during a doubt.
    let born: Duration
    var attempts = 0
    var failure: IngestClient.Failure?
    /// Whether its lifetime ended while it was in flight.
    var overdue = false
  }

  private struct Delayed: Comparable {
    let until: Moment
    let number: UInt64
    static func < (left: Self, right: Self) -> Bool { (left.until, left.number) < (right.until, right.number) }
  }

  /// The key was refused, and nothing has been accepted since.
  private struct Doubt {
    var answer: IngestClient.Answer
    let since: Moment
    /// The first refusal of the current series; nil if the last answer wasn't a refusal.
    var refusedSince: Moment?
    var asks = 0
    var nextAsk: Moment
    /// Requests with this send number or a later one were sent in this doubt.
    let firstSend: UInt64
    /// The payload that is retried to test the key. It is in none of the queues.
    var asker: UInt64?
    var disengaged = false
  }

  private enum Phase {
    case open
    case draining(until: Moment)
    case stopping(told: Bool)
    case ended
  }

  private let configuration: IngestClient.Configuration
  private var random: any RandomNumberGenerator & Sendable
  private var entries: [UInt64: Entry] = [:]
  private var nextNumber: UInt64 = 0
  /// The send number of each payload in flight.
  private var inFlight: [UInt64: UInt64] = [:]
  private var nextSend: UInt64 = 0
  /// Payloads to send as soon as possible. In this and the next two queues, a number without an entry is skipped.
  private var ready: Deque<UInt64> = []
  private var delayed: Heap<Delayed> = []
  /// All payloads by age.
  private var ageing: Deque<UInt64> = []

  /// Failures in a row, each of a payload that was sent after the previous failure.
  private var streak = 0
  /// The end of the whole client's pause after failures.
  private var gate: Moment = .zero
  /// Requests with this send number or a later one were sent after the last failure that counted.
  private var firstSendSinceFailure: UInt64 = 0

  private var doubt: Doubt?
  /// Total time of earlier doubts.
  private var doubted: Duration = .zero
  private var phase = Phase.open
  private var events: [Event] = []

  /// Bytes of the buffered bodies.
  private(set) var bytes = 0

  init(_ configuration: IngestClient.Configuration, random: any RandomNumberGenerator & Sendable) {
    self.configuration = configuration
    self.random = random
  }

  var count: Int { entries.count }
  var inFlightCount: Int { inFlight.count }
  var isOpen: Bool { if case .open = phase { true } else { false } }

  var state: IngestClient.State {
    guard let doubt else { return .engaged }
    return doubt.disengaged ? .disengaged(doubt.answer) : .paused(doubt.answer)
  }

  /// The events since the last call, in order.
  mutating func takeEvents() -> [Event] {
    defer { events.removeAll() }
    return events
  }

  // MARK: Adding payloads

  /// - Returns: The payload's number in later events.
  mutating func submit(
    _ payload: IngestClient.Payload, at now: Moment
  ) throws(IngestClient.Rejection) -> UInt64 {
    guard isOpen else { throw .ending }
    if let flaw = payload.flaw { throw .malformed(flaw) }
    // If no payload is left to test the key with (the last one was too large, for example), the next payload does that.
    if let doubt, doubt.disengaged, !entries.isEmpty { throw .disengaged(doubt.answer) }
    let size = payload.size
    guard size <= configuration.buffer.bytes else { throw .tooLarge(limit: configuration.buffer.bytes) }
    guard entries.count < configuration.buffer.payloads, size <= configuration.buffer.bytes - bytes else {
      throw .bufferFull
    }
    compact()
    let number = nextNumber
    nextNumber += 1
    bytes += size
    entries[number] = Entry(payload: payload, born: lifetimeClock(now))
    ready.append(number)
    ageing.append(number)
    return number
  }

  /// Accepts no more payloads, and delivers as many as possible until the deadline. A later deadline than the current
  /// one changes nothing.
  mutating func drain(until deadline: Moment) {
    switch phase {
    case .open: phase = .draining(until: deadline)
    case .draining(let earlier): phase = .draining(until: min(earlier, deadline))
    case .stopping, .ended: break
    }
  }

  /// Removes the numbers of payloads that are gone, once they are more than half of a queue. Otherwise a payload that
  /// stays for a long time would keep the numbers of all later ones in the queue.
  private mutating func compact() {
    let entries = entries
    let most = 2 * entries.count + 1_000
    if ageing.count > most { ageing.removeAll { entries[$0] == nil } }
    if ready.count > most { ready.removeAll { entries[$0] == nil } }
    if delayed.count > most { delayed = Heap(delayed.unordered.filter { entries[$0.number] != nil }) }
  }

  /// Accepts and sends no more payloads. Payloads that aren't in flight end here, the others with their answers.
  mutating func stop() {
    switch phase {
    case .open, .draining: break
    case .stopping, .ended: return
    }
    phase = .stopping(told: false)
    for number in entries.keys.sorted() where inFlight[number] == nil { giveBack(number, .ended) }
  }

  // MARK: The next step

  /// Call it again after each `.send`, and after each event.
  mutating func next(at now: Moment) -> Step {
    if case .draining(let deadline) = phase, now >= deadline { stop() }
    switch phase {
    case .ended: return .ended
    case .stopping(let told):
      if inFlight.isEmpty { return end() }
      phase = .stopping(told: true)
      return told ? .wait(until: nil) : .cancelInFlight
    case .open, .draining: break
    }
    sortOut(now)
    if let number = sendable(now), let entry = entries[number] { return .send(send(number, entry.payload)) }
    let wake = nextSendable()
    guard case .draining(let deadline) = phase else { return .wait(until: earlier(wake, nextExpiry(now))) }
    // Nothing can be sent before the deadline, and no answer is pending: so the drain is over.
    if inFlight.isEmpty, wake.map({ $0 >= deadline }) ?? true {
      stop()
      return end()
    }
    return .wait(until: earlier(earlier(wake, nextExpiry(now)), deadline))
  }

  private mutating func end() -> Step {
    phase = .ended
    return .ended
  }

  private func earlier(_ left: Moment?, _ right: Moment?) -> Moment? {
    guard let left, let right else { return left ?? right }
    return min(left, right)
  }

  /// Moves payloads that have waited long enough to the ready ones, and returns those that are too old.
  private mutating func sortOut(_ now: Moment) {
    while let first = delayed.min, first.until <= now || entries[first.number] == nil {
      delayed.removeMin()
      // At the end: a payload that always fails must not be before one that was never tried.
      if entries[first.number] != nil { ready.append(first.number) }
    }
    if doubt == nil {
      while let first = ageing.first {
        guard let entry = entries[first] else {
          ageing.removeFirst()
          continue
        }
        guard lifetimeClock(now) - entry.born >= configuration.payloadLifetime else { break }
        ageing.removeFirst()
        if inFlight[first] == nil { giveBack(first, .expired) } else { entries[first]?.overdue = true }
      }
    }
    while let first = ready.first, entries[first] == nil { ready.removeFirst() }
  }

  /// The payload to send now, removed from its queue. It exists: numbers without a payload have been removed from the
  /// fronts of the queues.
  private mutating func sendable(_ now: Moment) -> UInt64? {
    guard mayTry, now >= (doubt?.nextAsk ?? gate) else { return nil }
    if let asker = doubt?.asker { return asker }
    if let number = ready.popFirst() { return number }
    // This attempt tests the key and not the payload, so the payload's own backoff doesn't matter.
    return doubt == nil ? nil : delayed.popMin()?.number
  }

  /// Whether one more request is allowed, apart from the time.
  private var mayTry: Bool {
    guard inFlight.count < configuration.concurrency else { return false }
    if let doubt { return !inFlight.values.contains { $0 >= doubt.firstSend } }
    return streak == 0 || !inFlight.values.contains { $0 >= firstSendSinceFailure }
  }

  /// The time at which something can be sent without waiting for an answer. Call it only after ``sendable(_:)``
  /// returned nil.
  private func nextSendable() -> Moment? {
    guard mayTry else { return nil }
    if let doubt {
      return doubt.asker != nil || !ready.isEmpty || !delayed.isEmpty ? doubt.nextAsk : nil
    }
    return ready.isEmpty ? delayed.min.map { max($0.until, gate) } : gate
  }

  private func nextExpiry(_ now: Moment) -> Moment? {
    guard doubt == nil, let first = ageing.first, let entry = entries[first] else { return nil }
    return now + configuration.payloadLifetime - (lifetimeClock(now) - entry.born)
  }

  /// The client's age without the time of its doubts.
  private func lifetimeClock(_ now: Moment) -> Duration { (doubt?.since ?? now) - doubted }

  private mutating func send(_ number: UInt64, _ payload: IngestClient.Payload) -> Sending {
    inFlight[number] = nextSend
    nextSend += 1
    doubt?.asker = number
    entries[number]?.attempts += 1
    return Sending(number: number, payload: payload)
  }

  /// The count of numbers in the queues, including those of payloads that are gone.
  var queuedNumbers: Int { ageing.count + ready.count + delayed.count }

  // MARK: Answers

  /// The request for this payload is over.
  mutating func answered(_ number: UInt64, _ result: AttemptResult, at now: Moment) {
    guard let send = inFlight.removeValue(forKey: number), let entry = entries[number] else { return }
    let inDoubt = doubt.map { send >= $0.firstSend } ?? false
    switch result {
    case .delivered(let answer):
      let delivery = IngestClient.Delivery(
        idempotencyKey: entry.payload.idempotencyKey, answer: answer, attempts: entry.attempts)
      remove(number)
      events.append(.delivered(number, delivery))
      if inDoubt { engage(now) } else if send >= firstSendSinceFailure { streak = 0 }
    case .undeliverable(let answer):
      giveBack(number, .undeliverable(answer))
      if inDoubt {
        // This outcome says nothing about the key, so another payload must test it.
        let nextAsk = now + askInterval()
        doubt?.asker = nil
        doubt?.nextAsk = nextAsk
      }
    case .refused(let answer):
      entries[number]?.failure = .refused(answer)
      if isStopping { giveBack(number, .ended) } else { refused(number, answer, inDoubt: inDoubt, at: now) }
    case .failed(let failure, let retryAfter):
      entries[number]?.failure = failure
      let asked = retryAfter.map { min($0, configuration.retries.longestRetryAfter) }
      if isStopping {
        giveBack(number, .ended)
      } else if inDoubt {
        failedInDoubt(asked, at: now)
      } else {
        keep(number, entry, asked, at: now)
        if doubt == nil { failed(failure, send, asked, at: now) }
      }
    }
  }

  private mutating func refused(_ number: UInt64, _ answer: IngestClient.Answer, inDoubt: Bool, at now: Moment) {
    guard var doubt = self.doubt else {
      self.doubt = Doubt(
        answer: answer, since: now, refusedSince: now, nextAsk: now, firstSend: nextSend, asker: number)
      let nextAsk = now + askInterval()
      self.doubt?.nextAsk = nextAsk
      events.append(.became(.paused(answer)))
      return
    }
    guard inDoubt else {
      // This request was sent before the doubt began, so it is no further refusal.
      if doubt.disengaged { giveBack(number, .disengaged(doubt.answer)) } else { ready.prepend(number) }
      return
    }
    let refusedSince = doubt.refusedSince ?? now
    doubt.answer = answer
    doubt.refusedSince = refusedSince
    doubt.asks += 1
    let patienceEnds = refusedSince + configuration.refusals.patience
    let disengages = !doubt.disengaged && now >= patienceEnds
    if disengages { doubt.disengaged = true }
    self.doubt = doubt
    let interval = now + askInterval()
    // The last attempt is at the end of the patience, not up to an interval after it.
    self.doubt?.nextAsk = doubt.disengaged ? interval : min(interval, patienceEnds)
    if disengages { disengage(answer) }
  }

  private mutating func disengage(_ answer: IngestClient.Answer) {
    events.append(.became(.disengaged(answer)))
    for number in entries.keys.sorted() where number != doubt?.asker && inFlight[number] == nil {
      giveBack(number, .disengaged(answer))
    }
    ready.removeAll()
    delayed = []
  }

  private mutating func engage(_ now: Moment) {
    guard let doubt else { return }
    doubted += now - doubt.since
    self.doubt = nil
    streak = 0
    gate = now
    events.append(.became(.engaged))
  }

  /// Retries the same payload. The answer was no refusal, so the series of refusals is interrupted.
  private mutating func failedInDoubt(_ asked: Duration?, at now: Moment) {
    doubt?.refusedSince = nil
    doubt?.asks += 1
    let nextAsk = now + max(askInterval(), asked ?? .zero)
    doubt?.nextAsk = nextAsk
  }

  private mutating func askInterval() -> Duration {
    let refusals = configuration.refusals
    guard let doubt else { return .zero }
    if doubt.disengaged { return refusals.rareAsk * Double.random(in: 0.9...1.1, using: &random) }
    // Not full jitter: the intervals must not become short by chance.
    return Backoff(first: refusals.firstAsk, longest: refusals.longestAsk).bound(after: doubt.asks + 1)
      * Double.random(in: 0.5...1, using: &random)
  }

  /// Keeps a payload whose attempt failed.
  private mutating func keep(_ number: UInt64, _ entry: Entry, _ asked: Duration?, at now: Moment) {
    if let doubt, doubt.disengaged {
      giveBack(number, .disengaged(doubt.answer))
    } else if entry.overdue {
      giveBack(number, .expired)
    } else {
      delayed.insert(Delayed(until: now + backoff(after: entry.attempts) + (asked ?? .zero), number: number))
    }
  }

  private mutating func failed(
    _ failure: IngestClient.Failure, _ send: UInt64, _ asked: Duration?, at now: Moment
  ) {
    guard send >= firstSendSinceFailure else {
      if let asked { gate = max(gate, now + asked) }
      return
    }
    if streak == 0 { events.append(.faltered(failure)) }
    streak += 1
    firstSendSinceFailure = nextSend
    gate = now + backoff(after: streak) + (asked ?? .zero)
  }

  private mutating func backoff(after failures: Int) -> Duration {
    Backoff(first: configuration.retries.first, longest: configuration.retries.longest)
      .wait(after: failures, using: &random)
  }

  // MARK: Removing payloads

  private var isStopping: Bool { if case .stopping = phase { true } else { false } }

  private mutating func giveBack(_ number: UInt64, _ reason: IngestClient.Undelivered.Reason) {
    guard let entry = entries[number] else { return }
    remove(number)
    events.append(
      .undelivered(
        number,
        IngestClient.Undelivered(
          payload: entry.payload, reason: reason, attempts: entry.attempts, lastFailure: entry.failure)))
  }

  private mutating func remove(_ number: UInt64) {
    guard let entry = entries.removeValue(forKey: number) else { return }
    bytes -= entry.payload.size
    if doubt?.asker == number { doubt?.asker = nil }
  }
}
