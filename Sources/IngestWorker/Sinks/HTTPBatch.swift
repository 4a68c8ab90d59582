// One batch on its way to the receiver: which requests are sent when, and when the batch has waited long enough.
//
// - At most `concurrency` requests count as waiting for the receiver. A late one (`HTTPMemory`) doesn't count any more, so that payloads that
//   the receiver never answers take no room from others.
// - Payloads that failed before (suspects) are sent beside the others and take at most half of the room. In a body of many lines they are alone.
// - A body of many lines that isn't accepted is sent again in pieces, each with about the root of its lines, until the lines that are at fault are
//   alone. Rejected: halves. Where each try takes the whole time-out, nine of them in a row are too many.
// - After so many failures in a row that the receiver is likely away, the rest isn't tried.

internal import IngestQueue

struct HTTPBatch {
  /// What became of a payload.
  enum Result {
    case answered(HTTPAnswer, acceptedBefore: Int)
    /// Its request goes on, until then at most.
    case underWay(until: ContinuousClock.Instant)
    case untried
  }

  private let deliveries: [Delivery]
  private let address: HTTPSinkAddress
  private let exchange: HTTPExchange
  private let memory: HTTPMemory

  /// Requests that are to be sent, as places in the batch, the last one first.
  private var waiting: [[Int]]
  private var suspects: [Int]
  private var flights: [UInt64: HTTPMemory.Flight] = [:]
  /// Numbers of the suspects' flights.
  private var suspectFlights: Set<UInt64> = []
  private var failuresInARow = 0
  private(set) var results: [Int: Result] = [:]

  /// How often late requests are looked for.
  private static let glance = Duration.milliseconds(50)
  /// Of lines in one request; a larger one goes alone.
  private static let maxLineBytes = 8 << 20
  /// Late requests that the batch still waits for while it has others.
  private static let maxLate = 64

  /// - Parameters:
  ///   - places: What is to be sent.
  ///   - suspects: Of the places, those that failed before.
  init(
    _ places: [Int], suspects: Set<Int>, of deliveries: [Delivery], _ address: HTTPSinkAddress,
    _ exchange: HTTPExchange, _ memory: HTTPMemory
  ) {
    self.deliveries = deliveries
    self.address = address
    self.exchange = exchange
    self.memory = memory
    self.suspects = places.filter { suspects.contains($0) }.reversed()
    let others = places.filter { !suspects.contains($0) }
    for place in places { results[place] = .untried }
    waiting =
      switch address.form {
      case .single: others.reversed().map { [$0] }
      case .ndjson: Self.bodies(others, of: deliveries).reversed()
      }
  }

  private static func bodies(_ places: [Int], of deliveries: [Delivery]) -> [[Int]] {
    var bodies: [[Int]] = []
    var bytes = 0
    for place in places {
      // As base64, with the columns' names.
      let size = deliveries[place].body.bytes.count * 4 / 3 + 1_024
      if bodies.isEmpty || bytes + size > maxLineBytes {
        bodies.append([])
        bytes = 0
      }
      bodies[bodies.count - 1].append(place)
      bytes += size
    }
    return bodies
  }

  /// Sends what is to be sent.
  mutating func run() async {
    let (answers, stream) = AsyncStream<HTTPMemory.Answered>.makeStream()
    // Wakes the loop, so that it looks for late requests.
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
        letGoOfMany()
        start(stream)
        // What is left is late, and nothing more can be sent.
        if flights.values.allSatisfy({ memory.isLate($0) }) { break }
      }
    }
    let left = flights.values.filter { memory.letGo($0) }
    for flight in left { noteUnderWay(flight) }
    stream.finish()
    // What was answered just before.
    for await answered in answers { note(answered) }
    if Task.isCancelled { await memory.cancel(left) }
  }

  private mutating func noteUnderWay(_ flight: HTTPMemory.Flight) {
    flights[flight.number] = nil
    for place in flight.places { results[place] = .underWay(until: flight.begun + address.timeout) }
  }

  private mutating func letGoOfMany() {
    let late = flights.values.filter { memory.isLate($0) }.sorted { $0.number < $1.number }
    for flight in late.dropLast(Self.maxLate) where memory.letGo(flight) { noteUnderWay(flight) }
  }

  private mutating func start(_ stream: AsyncStream<HTTPMemory.Answered>.Continuation) {
    guard failuresInARow < max(2 * address.concurrency, 8), !Task.isCancelled else { return }
    var busy = 0
    var busySuspects = 0
    for flight in flights.values where !memory.isLate(flight) {
      busy += 1
      if suspectFlights.contains(flight.number) { busySuspects += 1 }
    }
    while busy < address.concurrency {
      let takesSuspect = !suspects.isEmpty && (waiting.isEmpty || busySuspects < max(address.concurrency / 2, 1))
      guard let places = takesSuspect ? suspects.popLast().map({ [$0] }) : waiting.popLast() else { return }
      let (exchange, form, part) = (exchange, address.form, places.map { deliveries[$0] })
      let flight = memory.start(places, of: deliveries, telling: stream) {
        switch form {
        case .single: await exchange.send(exchange.request(part[0]))
        case .ndjson: await exchange.send(exchange.request(lines: part))
        }
      }
      flights[flight.number] = flight
      busy += 1
      if takesSuspect {
        suspectFlights.insert(flight.number)
        busySuspects += 1
      }
    }
  }

  private mutating func note(_ answered: HTTPMemory.Answered) {
    guard let flight = flights.removeValue(forKey: answered.number), let answer = answered.answer else { return }
    if case .unclear = answer { failuresInARow += 1 } else { failuresInARow = 0 }
    switch answer {
    case .refused, .unclear:
      guard flight.places.count > 1 else { break }
      let size = Int(Double(flight.places.count).squareRoot())
      let pieces = stride(from: 0, to: flight.places.count, by: size).map { begin in
        Array(flight.places[begin..<min(begin + size, flight.places.count)])
      }
      waiting += pieces.reversed()
      return
    case .accepted: break
    }
    for place in flight.places { results[place] = .answered(answer, acceptedBefore: flight.acceptedBefore) }
  }
}
