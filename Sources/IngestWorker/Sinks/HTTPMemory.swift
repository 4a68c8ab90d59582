// The HTTP sink's memory from one batch to the next, for all lanes: which payloads are at fault (`FaultFinding`), which
// were accepted and not yet reported, and requests that continue though their batch has ended.
//
// Such a request is late: the receiver has answered others meanwhile, and its batch must not wait for it. Its payload
// is postponed. When the payload is delivered again, the answer is here, and the payload isn't sent a second time. Late
// requests are limited in number and bytes; beyond that the oldest is cancelled, which is a failure like any other.

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
    /// How many payloads the receiver had accepted at that time.
    let acceptedBefore: Int
  }

  struct Answered: Sendable {
    let number: UInt64
    /// Nil when it was cancelled.
    let answer: HTTPAnswer?
  }

  /// A payload's request that continues after its batch.
  enum Late: Sendable {
    case underWay(until: ContinuousClock.Instant)
    case answered(HTTPAnswer, acceptedBefore: Int)
  }

  private struct Apart {
    var until: ContinuousClock.Instant
    /// Whether the trouble was with a request of this account's lines alone.
    var isProven: Bool
  }

  private struct State {
    var faults = FaultFinding()
    /// Accepted, and not yet reported as stored.
    var accepted: Set<EnvelopeID> = []
    var lastAccepted: ContinuousClock.Instant?
    /// How long the receiver takes to accept a payload.
    var pace = HTTPPace()
    var lastNumber: UInt64 = 0
    /// The streams that get a flight's answer. A flight that isn't here is late.
    var attended: [UInt64: AsyncStream<Answered>.Continuation] = [:]
    var tasks: [UInt64: Task<Void, Never>] = [:]
    var late: [EnvelopeID: Late] = [:]
    /// Late flights in progress, the oldest first.
    var lateFlights: [Flight] = []
    /// Cancelled with their batch, or at the end: that is no failure.
    var cancelled: Set<UInt64> = []
    /// Accounts whose lines are sent in requests of their own.
    var apart: [String: Apart] = [:]

    /// Whether it is much longer than the receiver takes to accept others.
    func isLong(_ duration: Duration) -> Bool {
      pace.typical.map { duration >= max(HTTPMemory.leastPatience, $0 * 8) } ?? false
    }
  }

  private let state = Mutex(State())
  private let timeout: Duration

  /// Beyond this number entries are forgotten: then a payload may be sent twice, or a failure isn't counted.
  private static let maxRemembered = 100_000
  /// Late requests at one time.
  static let maxLate = 256
  private static let maxLateBytes = 64 << 20
  /// No request is late before this.
  private static let leastPatience = Duration.milliseconds(250)

  init(timeout: Duration) { self.timeout = timeout }

  // MARK: Accounts

  /// How long an account's lines stay apart after its own request was slow or failed. Each try together with others'
  /// lines delays those once.
  private static let apartFor = Duration.seconds(600)
  /// How long the lines of all accounts of a slow request stay apart, unless their own requests are quick.
  private static let suspectedFor = Duration.seconds(60)
  /// Maximum entries; not more accounts are expected to have trouble at the same time.
  private static let mostApart = 1_000

  /// Accounts whose lines shouldn't be in one request with others': the receiver was slow with them, or failed.
  var accountsApart: Set<String> {
    state.withLock { state in
      let now = ContinuousClock.now
      state.apart = state.apart.filter { $0.value.until > now }
      return Set(state.apart.keys)
    }
  }

  /// - Parameter isProven: Whether the trouble was with a request of this account's lines alone.
  func keepApart(_ account: String, isProven: Bool) {
    state.withLock { state in
      let known = state.apart[account]
      guard state.apart.count < Self.mostApart || known != nil, isProven || known?.isProven != true else { return }
      state.apart[account] = Apart(
        until: .now + (isProven ? Self.apartFor : Self.suspectedFor), isProven: isProven)
    }
  }

  /// A request of this account's lines alone was accepted as quickly as others are.
  func clear(_ account: String) {
    state.withLock { state in
      if state.apart[account]?.isProven == false { state.apart[account] = nil }
    }
  }

  /// Whether the answer to this flight, which has just arrived, took much longer than others do.
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

  /// Whether the receiver has accepted another payload since this was sent, and answers others much faster.
  func isLate(_ flight: Flight) -> Bool {
    guard flight.ids.count == 1 else { return false }
    return state.withLock { state in
      guard let last = state.lastAccepted, last > flight.begun else { return false }
      return state.isLong(.now - flight.begun)
    }
  }

  /// Lets a flight continue by itself.
  /// - Returns: False if it has been answered: the stream got the answer.
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

  /// What is remembered of a payload that is delivered again.
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

  /// They are reported as stored or refused, and won't be delivered again.
  func forget(_ ids: some Sequence<EnvelopeID>) {
    state.withLock { state in
      for id in ids {
        state.accepted.remove(id)
        state.faults.forget(id)
      }
    }
  }
}
