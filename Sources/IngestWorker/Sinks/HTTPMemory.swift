// The state that the HTTP sink keeps between batches, shared by all lanes: payloads at fault (`FaultFinding`), payloads
// that were accepted and not yet reported, and requests that continue after the end of their batch.
//
// Such a request is late: the receiver has answered others since it was sent, and its batch must not wait for it. Its
// payload is postponed. When the payload is delivered again, the sink has the answer, and doesn't send the payload a
// second time. Late requests are limited in number and bytes; beyond that the oldest is cancelled, which counts as a
// normal failure.

internal import IngestQueue
internal import Synchronization

final class HTTPMemory: Sendable {
  /// A request in progress.
  struct Flight: Sendable {
    let number: UInt64
    /// Indices of the batch's deliveries.
    let places: [Int]
    let ids: [EnvelopeID]
    /// The account; empty for several accounts.
    let account: String
    let bytes: Int
    let begun: ContinuousClock.Instant
    /// How many payloads the receiver had accepted when the request was sent.
    let acceptedBefore: Int
  }

  struct Answered: Sendable {
    let number: UInt64
    /// Nil when it was cancelled.
    let answer: HTTPAnswer?
  }

  /// A payload's request that continues after its batch has ended.
  enum Late: Sendable {
    case underWay(until: ContinuousClock.Instant)
    case answered(HTTPAnswer, acceptedBefore: Int)
  }

  private struct Apart {
    var until: ContinuousClock.Instant
    /// Whether a request that had only this account's lines failed or was slow.
    var isProven: Bool
  }

  private struct State {
    var faults = FaultFinding()
    /// Payloads that were accepted and not yet reported as stored.
    var accepted: Set<EnvelopeID> = []
    var lastAccepted: ContinuousClock.Instant?
    /// How long the receiver takes to accept a payload.
    var pace = HTTPPace()
    var lastNumber: UInt64 = 0
    /// The streams that get the answers of flights. A flight without a stream is late.
    var attended: [UInt64: AsyncStream<Answered>.Continuation] = [:]
    var tasks: [UInt64: Task<Void, Never>] = [:]
    var late: [EnvelopeID: Late] = [:]
    /// Late flights in progress, the oldest first.
    var lateFlights: [Flight] = []
    /// Flights that were cancelled with their batch, or at the shutdown: not failures.
    var cancelled: Set<UInt64> = []
    /// Accounts whose lines are sent in separate requests.
    var apart: [String: Apart] = [:]

    /// Whether this time is much longer than the receiver takes to accept other payloads.
    func isLong(_ duration: Duration) -> Bool {
      pace.typical.map { duration >= max(HTTPMemory.leastPatience, $0 * 8) } ?? false
    }
  }

  private let state = Mutex(State())
  private let timeout: Duration

  /// Beyond this number entries are forgotten. Then a payload may be sent twice, or a failure may not be counted.
  private static let maxRemembered = 100_000
  /// Maximum late requests at one time.
  static let maxLate = 256
  private static let maxLateBytes = 64 << 20
  /// The earliest time at which a request can be late.
  private static let leastPatience = Duration.milliseconds(250)

  init(timeout: Duration) { self.timeout = timeout }

  // MARK: Accounts

  /// How long an account's lines stay separate after its own request was slow or failed. Each try together with other
  /// accounts' lines delays those once.
  private static let apartFor = Duration.seconds(600)
  /// How long the lines of all accounts of a slow request stay separate, unless their own requests are quick.
  private static let suspectedFor = Duration.seconds(60)
  /// Maximum entries. Not more accounts are expected to fail or be slow at the same time.
  private static let mostApart = 1_000

  /// Accounts whose lines shouldn't share a request with other accounts' lines: the receiver was slow with them, or
  /// failed.
  var accountsApart: Set<String> {
    state.withLock { state in
      let now = ContinuousClock.now
      state.apart = state.apart.filter { $0.value.until > now }
      return Set(state.apart.keys)
    }
  }

  /// - Parameter isProven: Whether a request that had only this account's lines failed or was slow.
  func keepApart(_ account: String, isProven: Bool) {
    state.withLock { state in
      let known = state.apart[account]
      guard state.apart.count < Self.mostApart || known != nil, isProven || known?.isProven != true else { return }
      state.apart[account] = Apart(
        until: .now + (isProven ? Self.apartFor : Self.suspectedFor), isProven: isProven)
    }
  }

  /// A request that had only this account's lines was accepted as quickly as others are.
  func clear(_ account: String) {
    state.withLock { state in
      if state.apart[account]?.isProven == false { state.apart[account] = nil }
    }
  }

  /// Whether the answer to this flight, which has just arrived, took much longer than other answers.
  func isSlow(_ flight: Flight) -> Bool {
    state.withLock { $0.isLong(.now - flight.begun) }
  }

  // MARK: Flights

  /// Sends a request, and passes the answer to the stream.
  func start(
    _ places: [Int], of deliveries: [Delivery], by account: String, telling stream: AsyncStream<Answered>.Continuation,
    _ send: @escaping @Sendable () async -> HTTPAnswer?
  ) -> Flight {
    let ids = places.map { deliveries[$0].header.id }
    let bytes = places.reduce(0) { $0 + deliveries[$1].body.bytes.count }
    return state.withLock { state in
      state.lastNumber += 1
      let flight = Flight(
        number: state.lastNumber, places: places, ids: ids, account: account, bytes: bytes, begun: .now,
        acceptedBefore: state.faults.accepted)
      state.attended[flight.number] = stream
      state.tasks[flight.number] = Task { self.end(flight, await send()) }
      return flight
    }
  }

  private func end(_ flight: Flight, _ answer: HTTPAnswer?) {
    let now = ContinuousClock.now
    state.withLock { state in
      state.tasks[flight.number] = nil
      if case .accepted? = answer {
        if state.accepted.count > Self.maxRemembered { state.accepted = [] }
        for id in flight.ids {
          state.faults.noteAccepted(id)
          state.accepted.insert(id)
        }
        state.lastAccepted = now
        let taken = now - flight.begun
        state.pace.note(flight.account, taken, at: now)
      }
      if let stream = state.attended.removeValue(forKey: flight.number) {
        stream.yield(Answered(number: flight.number, answer: answer))
        return
      }
      state.lateFlights.removeAll { $0.number == flight.number }
      let isCancelled = state.cancelled.remove(flight.number) != nil && answer == nil
      for id in flight.ids {
        state.late[id] = nil
        if case .accepted? = answer { continue }
        if isCancelled { continue }
        let unanswered = HTTPAnswer.unclear(
          reason: "the receiver didn't answer within \(now - flight.begun), while it answered others", retryAfter: nil)
        if state.late.count > Self.maxRemembered { state.late = [:] }
        state.late[id] = .answered(answer ?? unanswered, acceptedBefore: flight.acceptedBefore)
      }
    }
  }

  /// Whether the receiver has accepted another payload since this was sent, and answers other requests much faster.
  func isLate(_ flight: Flight) -> Bool {
    guard flight.ids.count == 1 else { return false }
    return state.withLock { state in
      guard let last = state.lastAccepted, last > flight.begun else { return false }
      return state.isLong(.now - flight.begun)
    }
  }

  /// Lets a flight continue without its batch.
  /// - Returns: False if it has already been answered. Then the stream has the answer.
  func letGo(_ flight: Flight) -> Bool {
    let (isLate, cut) = state.withLock { state in
      guard state.attended.removeValue(forKey: flight.number) != nil else { return (false, [Task<Void, Never>]()) }
      for id in flight.ids { state.late[id] = .underWay(until: flight.begun + timeout) }
      state.lateFlights.append(flight)
      var bytes = state.lateFlights.reduce(0) { $0 + $1.bytes }
      var cut: [Task<Void, Never>] = []
      var kept = state.lateFlights[...]
      while kept.count > 1, kept.count > Self.maxLate || bytes > Self.maxLateBytes, let oldest = kept.popFirst() {
        bytes -= oldest.bytes
        if let task = state.tasks[oldest.number] { cut.append(task) }
      }
      return (true, cut)
    }
    for task in cut { task.cancel() }
    return isLate
  }

  /// Cancels flights and waits until they have ended.
  func cancel(_ flights: some Sequence<Flight>) async {
    let tasks = state.withLock { state in
      let tasks = flights.compactMap { flight in state.tasks[flight.number].map { (flight.number, $0) } }
      state.cancelled.formUnion(tasks.map(\.0))
      return tasks.map(\.1)
    }
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }

  func cancelAll() async { await cancel(state.withLock { $0.lateFlights }) }

  // MARK: Payloads

  /// The known result of a payload that is delivered again.
  enum Known: Sendable {
    case accepted
    case late(Late)
    case suspect
    case nothing
  }

  func known(_ id: EnvelopeID) -> Known {
    state.withLock { state in
      if state.accepted.contains(id) { return .accepted }
      if let late = state.late[id] {
        if case .answered = late { state.late[id] = nil }
        return .late(late)
      }
      return state.faults.isSuspect(id) ? .suspect : .nothing
    }
  }

  func noteFailed(_ id: EnvelopeID, acceptedBefore: Int) -> FaultFinding.Finding {
    state.withLock { $0.faults.noteFailed(id, since: acceptedBefore) }
  }

  /// Forgets payloads that won't be delivered again: they were reported as stored or rejected.
  func forget(_ ids: some Sequence<EnvelopeID>) {
    state.withLock { state in
      for id in ids {
        state.accepted.remove(id)
        state.faults.forget(id)
      }
    }
  }
}
