// Sends one batch to the receiver: decides when each request is sent, and when the batch has waited long enough.
//
// - At most `concurrency` requests may wait for the receiver. A late one (`HTTPMemory`) isn't counted, so that payloads
//   that the receiver never answers don't delay others.
// - Accounts take turns (`HTTPTurns`), and while other accounts wait, one account has at most a quarter of these
//   requests. An account's remaining payloads are set aside if they would take long, so that the batch ends and other
//   accounts' payloads are claimed. They are also set aside if its payloads only failed for a while.
// - Payloads that failed before (suspects) are sent at the same time as others, in at most half of the requests. If
//   requests have many lines, each suspect has a request of its own.
// - A request with many lines that isn't accepted is sent again in pieces, until the lines at fault are alone: one
//   piece for each account if there are few accounts, otherwise pieces of about the square root of the number of lines.
//   Rejected: halves. If each try takes the whole time-out, nine of them in a row are too many.
// - While an account's lines fail or aren't answered, and other accounts' are accepted, its lines are sent in separate
//   requests for some minutes. If a request with lines of several accounts was slow, all of these accounts are
//   separated, until a quick request shows that an account isn't the cause. A large line has a request of its own.
// - After many failures in a row the receiver is probably down, and the remaining payloads aren't tried.

internal import IngestQueue

struct HTTPBatch {
  /// The result of a payload.
  enum Result {
    case answered(HTTPAnswer, acceptedBefore: Int)
    /// Its request continues, at most until this time.
    case underWay(until: ContinuousClock.Instant)
    case untried
    /// Untried, because of the time or the failures of its account's other payloads.
    case setAside
  }

  /// The state of an account in this batch.
  private struct Account {
    var sent = 0
    var failuresInARow = 0
  }

  /// A request in progress, and its account.
  private struct Sent {
    let flight: HTTPMemory.Flight
    let account: String
    let isSuspect: Bool
  }

  private let deliveries: [Delivery]
  private let address: HTTPSinkAddress
  private let exchange: HTTPExchange
  private let memory: HTTPMemory

  private var waiting = HTTPTurns()
  private var suspects = HTTPTurns()
  private var flights: [UInt64: Sent] = [:]
  private var accounts: [String: Account] = [:]
  private var failuresInARow = 0
  private var hasAccepted = false
  private let begun = ContinuousClock.now
  private(set) var results: [Int: Result] = [:]

  /// The interval of checks for late requests.
  private static let glance = Duration.milliseconds(50)
  /// Maximum bytes of the lines in one request; a larger line is sent alone.
  private static let maxLineBytes = 8 << 20
  /// A line with a larger body than this is sent alone.
  private static let largeLine = 256 << 10
  /// Maximum late requests that the batch waits for while it has other payloads.
  private static let maxLate = 64
  /// The batch's time for one account. Then the account's remaining payloads are set aside if they would take as long
  /// again.
  private static let accountTime = Duration.milliseconds(500)
  /// The account name for requests with lines of several accounts.
  private static let several = ""

  /// - Parameters:
  ///   - places: Indices of the payloads to send.
  ///   - suspects: Those of them that failed before.
  init(
    _ places: [Int], suspects: Set<Int>, of deliveries: [Delivery], _ address: HTTPSinkAddress,
    _ exchange: HTTPExchange, _ memory: HTTPMemory
  ) {
    self.deliveries = deliveries
    self.address = address
    self.exchange = exchange
    self.memory = memory
    for place in places { results[place] = .untried }
    add(places.filter { suspects.contains($0) }.map { [$0] }, to: \.suspects)
    let others = places.filter { !suspects.contains($0) }
    switch address.form {
    case .single: add(others.map { [$0] }, to: \.waiting)
    case .ndjson:
      let apart = memory.accountsApart
      let isLarge = { (place: Int) in deliveries[place].body.bytes.count > Self.largeLine }
      add(others.filter(isLarge).map { [$0] }, to: \.waiting)
      let byItself = Dictionary(grouping: others.filter { !isLarge($0) }) { place in
        let account = deliveries[place].header.account
        return apart.contains(account) ? account : Self.several
      }
      for places in byItself.values { add(Self.bodies(places, of: deliveries), to: \.waiting) }
    }
  }

  private mutating func add(_ requests: [HTTPTurns.Request], to turns: WritableKeyPath<HTTPBatch, HTTPTurns>) {
    var byAccount: [String: [HTTPTurns.Request]] = [:]
    var order: [String] = []
    for request in requests {
      let account = account(of: request)
      if byAccount[account] == nil { order.append(account) }
      byAccount[account, default: []].append(request)
    }
    for account in order { self[keyPath: turns].add(byAccount[account] ?? [], of: account) }
  }

  private func account(of request: HTTPTurns.Request) -> String {
    let accounts = Set(request.map { deliveries[$0].header.account })
    return accounts.count == 1 ? accounts.first ?? Self.several : Self.several
  }

  private static func bodies(_ places: [Int], of deliveries: [Delivery]) -> [[Int]] {
    var bodies: [[Int]] = []
    var bytes = 0
    for place in places {
      let size = PayloadLine.most(deliveries[place].body.bytes.count)
      if bodies.isEmpty || bytes + size > maxLineBytes {
        bodies.append([])
        bytes = 0
      }
      bodies[bodies.count - 1].append(place)
      bytes += size
    }
    return bodies
  }

  /// Sends the payloads.
  /// - Parameter progress: Updated with the accounts whose payloads the receiver hasn't answered.
  mutating func run(saying progress: SinkProgress) async {
    let (answers, stream) = AsyncStream<HTTPMemory.Answered>.makeStream()
    // Wakes the loop periodically, to check for late requests.
    let clock = Task {
      while !Task.isCancelled {
        do { try await Task.sleep(for: Self.glance) } catch { return }
        stream.yield(.init(number: 0, answer: nil))
      }
    }
    defer { clock.cancel() }
    start(stream)
    if !flights.isEmpty {
      for await answered in answers {
        note(answered)
        if answered.answer == nil {
          let unanswered = flights.values.lazy.flatMap(\.flight.places)
          progress.accounts = Set(unanswered.map { [deliveries] in deliveries[$0].header.account })
        }
        letGoOfMany()
        setAside()
        start(stream)
        // Only late requests are in progress, and nothing more can be sent.
        if flights.values.allSatisfy({ memory.isLate($0.flight) }) { break }
      }
    }
    keepApart()
    let left = flights.values.map(\.flight).filter { memory.letGo($0) }
    for flight in left { noteUnderWay(flight) }
    stream.finish()
    // Answers that have already arrived.
    for await answered in answers { note(answered) }
    setAside()
    if Task.isCancelled { await memory.cancel(left) }
  }

  /// Separates accounts whose lines aren't accepted while other accounts' are, so that they don't delay lines in the
  /// same request.
  private func keepApart() {
    guard address.form == .ndjson, hasAccepted else { return }
    let failed = accounts.filter { $0.value.failuresInARow > 0 }.keys
    for account in Set(failed).union(flights.values.map(\.account)) where account != Self.several {
      memory.keepApart(account, isProven: true)
    }
  }

  private mutating func noteUnderWay(_ flight: HTTPMemory.Flight) {
    flights[flight.number] = nil
    for place in flight.places { results[place] = .underWay(until: flight.begun + address.timeout) }
  }

  private mutating func letGoOfMany() {
    let late = flights.values.map(\.flight).filter { memory.isLate($0) }.sorted { $0.number < $1.number }
    for flight in late.dropLast(Self.maxLate) where memory.letGo(flight) { noteUnderWay(flight) }
  }

  /// Whether the account had so many failures in a row that its remaining payloads aren't tried.
  func hasGivenUp(_ account: String) -> Bool { accounts[account]?.failuresInARow ?? 0 >= mostFailuresInARow }

  /// After this number of failures in a row nothing more is tried.
  private var mostFailuresInARow: Int { max(2 * address.concurrency, 8) }

  /// Sets aside accounts' remaining payloads that would delay others.
  private mutating func setAside() {
    let elapsed = ContinuousClock.now - begun
    // Usually there is nothing to do, and this is called with each answer.
    guard elapsed > Self.accountTime || accounts.values.contains(where: { $0.failuresInARow >= mostFailuresInARow })
    else { return }
    for account in Set(waiting.accounts + suspects.accounts) where account != Self.several {
      let known = accounts[account] ?? Account()
      let left = waiting.count(of: account) + suspects.count(of: account)
      let wouldTakeLong =
        elapsed > Self.accountTime && known.sent > 0 && elapsed * left / known.sent > Self.accountTime
      // If nothing was accepted, the receiver may be down. Then the batch is kept.
      let hasFailed = hasGivenUp(account) && hasAccepted
      guard wouldTakeLong || hasFailed else { continue }
      for request in waiting.remove(account) + suspects.remove(account) {
        for place in request { results[place] = .setAside }
      }
    }
  }

  private mutating func start(_ stream: AsyncStream<HTTPMemory.Answered>.Continuation) {
    guard failuresInARow < mostFailuresInARow, !Task.isCancelled else { return }
    // Requests that wait for the receiver: in total, of each account, and of suspects.
    var busy = 0
    var busyOf: [String: Int] = [:]
    var busySuspects = 0
    for sent in flights.values where !memory.isLate(sent.flight) {
      busy += 1
      busyOf[sent.account, default: 0] += 1
      if sent.isSuspect { busySuspects += 1 }
    }
    let share = max(address.concurrency / 4, 1)
    while busy < address.concurrency {
      let takesSuspect = !suspects.isEmpty && (waiting.isEmpty || busySuspects < max(address.concurrency / 2, 1))
      func isBelowShare(_ account: String) -> Bool { busyOf[account, default: 0] < share }
      let next = takesSuspect ? suspects.next(isBelowShare) : waiting.next(isBelowShare)
      guard let (places, account) = next else { return }
      let (exchange, form, part) = (exchange, address.form, places.map { deliveries[$0] })
      let flight = memory.start(places, of: deliveries, by: account, telling: stream) {
        switch form {
        case .single: await exchange.send(exchange.request(part[0]))
        case .ndjson: await exchange.send(exchange.request(lines: part))
        }
      }
      flights[flight.number] = Sent(flight: flight, account: account, isSuspect: takesSuspect)
      busy += 1
      if takesSuspect { busySuspects += 1 }
      busyOf[account, default: 0] += 1
      accounts[account, default: Account()].sent += places.count
    }
  }

  private mutating func note(_ answered: HTTPMemory.Answered) {
    guard let sent = flights.removeValue(forKey: answered.number), let answer = answered.answer else { return }
    let flight = sent.flight
    switch answer {
    case .unclear, .unsent:
      failuresInARow += 1
      accounts[sent.account, default: Account()].failuresInARow += 1
    case .accepted:
      hasAccepted = true
      fallthrough
    case .refused:
      failuresInARow = 0
      accounts[sent.account, default: Account()].failuresInARow = 0
    }
    if address.form == .ndjson { judge(flight, answer) }
    switch answer {
    case .refused, .unclear:
      guard flight.places.count > 1 else { break }
      add(pieces(of: flight.places), to: \.waiting)
      return
    case .accepted, .unsent: break
    }
    for place in flight.places { results[place] = .answered(answer, acceptedBefore: flight.acceptedBefore) }
  }

  /// Decides which accounts' lines may delay other accounts' lines in the same request.
  private func judge(_ flight: HTTPMemory.Flight, _ answer: HTTPAnswer) {
    if memory.isSlow(flight) {
      let accounts = Set(flight.places.map { deliveries[$0].header.account })
      for account in accounts { memory.keepApart(account, isProven: accounts.count == 1) }
    } else if case .accepted = answer, flight.account != Self.several {
      memory.clear(flight.account)
    }
  }

  /// Splits the lines of a request that is sent again into smaller requests: by accounts, unless there are too many.
  private func pieces(of places: [Int]) -> [[Int]] {
    let size = Int(Double(places.count).squareRoot())
    let byAccount = Dictionary(grouping: places) { deliveries[$0].header.account }
    if byAccount.count > 1, byAccount.count <= 2 * size { return Array(byAccount.values) }
    let together = byAccount.values.flatMap { $0 }
    return stride(from: 0, to: together.count, by: size).map { begin in
      Array(together[begin..<min(begin + size, together.count)])
    }
  }
}
