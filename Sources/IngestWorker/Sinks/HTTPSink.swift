// Sends payloads to an HTTP server. By default each payload is one request with its body and content type unchanged,
// because most receivers support nothing else. With `?batch=ndjson` one request has a line of JSON for each of many
// payloads.
//
// With a receiver that recognises an Idempotency-Key, "at least once" becomes "once". Other receivers get some payloads
// twice. Payloads of a failed batch that were accepted are remembered, so that the next try doesn't send them again.
//
// 2xx means stored. A 4xx that rejects this payload (400, 406, 409, 411 to 418, 422 and so on) makes it a dead letter.
// For all other answers, 401, 403 and 5xx among them, `FaultFinding` decides whether the receiver or the payload is at
// fault. So one payload can't delay others, whatever the receiver answers: if other payloads are accepted, its failures
// are counted, and it becomes a dead letter in time. A receiver that is down, or whose password was changed, makes no
// dead letters: it accepts nothing, and the whole batch fails.

internal import IngestQueue

/// Forwards payloads to an HTTP server.
public final class HTTPSink: Sink {
  private let address: HTTPSinkAddress
  private let exchange: HTTPExchange
  private let memory: HTTPMemory
  public let name: String

  /// Other payloads are tried beside a batch that the receiver doesn't answer: they show whether the receiver or the
  /// batch is at fault.
  public let patience: Duration? = .seconds(1)

  /// Opens no connection yet.
  public init(_ address: HTTPSinkAddress) {
    self.address = address
    name = "\(address)"
    memory = HTTPMemory(timeout: address.timeout)
    // Enough for several lanes, each with a batch and other payloads beside it, and for late requests.
    exchange = HTTPExchange(address, connections: address.concurrency * 16 + HTTPMemory.maxLate)
  }

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    try await store(deliveries, saying: SinkProgress())
  }

  public func store(
    _ deliveries: [Delivery], saying progress: SinkProgress
  ) async throws(SinkFailure) -> [SinkOutcome] {
    guard !deliveries.isEmpty else { return [] }
    var results: [Int: HTTPBatch.Result] = [:]
    var givenUp: Set<Int> = []
    var places: [Int] = []
    var suspects: Set<Int> = []
    var sent: Set<EnvelopeID> = []
    for (place, delivery) in deliveries.enumerated() {
      // If an envelope is in the batch twice, it is sent once.
      guard sent.insert(delivery.header.id).inserted else { continue }
      switch memory.known(delivery.header.id) {
      case .accepted: results[place] = .answered(.accepted, acceptedBefore: 0)
      case .late(.underWay(let until)): results[place] = .underWay(until: until)
      case .late(.answered(let answer, let before)): results[place] = .answered(answer, acceptedBefore: before)
      case .suspect:
        suspects.insert(place)
        places.append(place)
      case .nothing: places.append(place)
      }
    }
    if !places.isEmpty {
      var batch = HTTPBatch(places, suspects: suspects, of: deliveries, address, exchange, memory)
      await batch.run(saying: progress)
      results.merge(batch.results) { $1 }
      givenUp = Set(places.filter { batch.hasGivenUp(deliveries[$0].header.account) })
      if Task.isCancelled, batch.results.values.contains(where: { if case .answered = $0 { false } else { true } }) {
        throw SinkFailure("it was cancelled")
      }
    }
    return try outcomes(of: deliveries, results, givenUp)
  }

  public func close() async throws(SinkFailure) {
    await memory.cancelAll()
    do {
      try await exchange.shutdown()
    } catch {
      throw SinkFailure("can't close the connections to \(name): \(error)")
    }
  }

  // MARK: The meaning of answers

  private func outcomes(
    of deliveries: [Delivery], _ results: [Int: HTTPBatch.Result], _ givenUp: Set<Int>
  ) throws(SinkFailure) -> [SinkOutcome] {
    var outcomes = [SinkOutcome](repeating: .stored, count: deliveries.count)
    var ended: [EnvelopeID] = []
    var untried: [Int] = []
    var failure: SinkFailure?
    // Whether any result shows that the receiver works.
    var isWorking = false
    for (place, result) in results.sorted(by: { $0.key < $1.key }) {
      let id = deliveries[place].header.id
      switch result {
      case .answered(.accepted, _):
        isWorking = true
        ended.append(id)
      case .answered(.refused(let reason), _):
        isWorking = true
        outcomes[place] = .failed(reason: reason, retryable: false)
        ended.append(id)
      case .answered(.unclear(let reason, let retryAfter), let before):
        switch memory.noteFailed(id, acceptedBefore: before) {
        case .payload where retryAfter == nil:
          isWorking = true
          outcomes[place] = .failed(reason: reason, retryable: true)
        case .payload:
          isWorking = true
          outcomes[place] = .postponed(
            Postponement(reason: reason, isCounted: true, failures: 1, after: retryAfter ?? .zero))
        case .unsteady(let failures):
          isWorking = true
          outcomes[place] = .postponed(
            Postponement(reason: reason, isCounted: false, failures: failures, after: retryAfter ?? .zero))
        case .unknown(let failures):
          outcomes[place] = .postponed(
            Postponement(reason: reason, isCounted: false, failures: failures, after: retryAfter ?? .zero))
        }
        let asked = [failure?.retryAfter, retryAfter].compactMap { $0 }.max()
        failure = SinkFailure(failure?.description ?? reason, retryAfter: asked)
      case .answered(.unsent(let reason), _):
        outcomes[place] = .postponed(Postponement(reason: reason, isCounted: false, failures: 1))
        failure = SinkFailure(failure?.description ?? reason, retryAfter: failure?.retryAfter)
      case .underWay(let until):
        isWorking = true
        outcomes[place] = .postponed(
          Postponement(
            reason: "the receiver hasn't answered yet", isCounted: false, failures: 0,
            after: max(until - .now, .zero) + .milliseconds(100)))
      case .untried: untried.append(place)
      case .setAside: outcomes[place] = .setAside
      }
    }
    if let failure, !isWorking { throw failure }
    memory.forget(ended)
    // The receiver works, and the results of one account's payloads say nothing about other accounts'.
    for place in untried {
      outcomes[place] = givenUp.contains(place) ? .setAside : .untried(retryAfter: failure?.retryAfter)
    }
    repeatForTwins(deliveries, results, &outcomes)
    return outcomes
  }

  /// If an envelope is in the batch twice, both get the first one's result.
  private func repeatForTwins(
    _ deliveries: [Delivery], _ results: [Int: HTTPBatch.Result], _ outcomes: inout [SinkOutcome]
  ) {
    guard results.count < deliveries.count else { return }
    var first: [EnvelopeID: Int] = [:]
    for (place, delivery) in deliveries.enumerated() {
      if results[place] != nil {
        first[delivery.header.id] = place
      } else if let earlier = first[delivery.header.id] {
        outcomes[place] = outcomes[earlier]
      }
    }
  }
}
