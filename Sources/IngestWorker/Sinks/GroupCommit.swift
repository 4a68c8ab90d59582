// Batches of lanes that arrive while the sink is busy are stored together: one transaction and one fsync for all of
// them. The queue's producer does the same with pushes. So the longer a commit takes, the more payloads are in the next
// one, and no setting depends on the speed of the disk.
//
// It uses a dispatch queue, because storing blocks, and threads of the concurrency pool must not block. Rejected: a
// lock around a database, which stores one lane after the other and needs an fsync for each.
//
// One payload may make the whole transaction fail each time: for example, a trigger rolls back, a row makes the server
// hang, or a line is larger than the free space on the disk. So a batch is halved until that payload is alone, if the
// sink says that one payload may be the cause, or if others were stored since the batch failed last (`FaultFinding`).
// A batch that failed isn't stored together with other batches again.

internal import Dispatch
internal import IngestQueue
internal import Synchronization

/// A sink with blocking calls: a file, or a connection. Used by one thread at a time.
protocol BlockingStore: SendableMetatype {
  /// As ``Sink/store(_:)``. While it waits, it checks whether a caller still waits for it.
  mutating func store(_ deliveries: [Delivery], _ patience: CancellationCheck) throws(SinkFailure) -> [SinkOutcome]
  /// Does maintenance that is due, independent of a batch.
  mutating func performMaintenance()
  /// As ``Sink/close()``. Nothing is stored afterwards.
  mutating func close() throws(SinkFailure)
}

extension BlockingStore {
  mutating func performMaintenance() {}
}

/// Whether a caller still waits for the result.
struct CancellationCheck: Sendable {
  fileprivate let tickets: [Ticket]

  /// Whether all callers' tasks are cancelled.
  var isOver: Bool { tickets.allSatisfy(\.isGivenUp) }

  fileprivate final class Ticket: Sendable {
    private let flag = Atomic<Bool>(false)
    var isGivenUp: Bool { flag.load(ordering: .relaxed) }
    func giveUp() { flag.store(true, ordering: .relaxed) }
  }
}

/// Stores batches of several lanes in one sink, together if they arrive together.
final class GroupCommit<Store: BlockingStore>: Sendable {
  private struct Job: Sendable {
    let deliveries: [Delivery]
    let ticket: CancellationCheck.Ticket
    let done: CheckedContinuation<Result<[SinkOutcome], SinkFailure>, Never>

    /// Identifies the batch.
    var first: EnvelopeID { deliveries[0].header.id }
  }

  /// Maximum deliveries stored at once; a single batch may be larger.
  private static var mostDeliveries: Int { 4_000 }
  private static var mostBytes: Int { 32 << 20 }

  private let store: Mutex<Store>
  private let waiting = Mutex<[Job]>([])
  private let faults = Mutex(Faults())

  private struct Faults {
    var finding = FaultFinding()
    /// Failed batches, by their first payload: the number of payloads that had been stored at that time.
    var batches: [EnvelopeID: Int] = [:]

    /// Records that a batch failed.
    /// - Returns: Whether other payloads were stored at the same time, or since this batch's last failure.
    mutating func noteFailed(_ job: Job, _ acceptedBefore: Int) -> Bool {
      let before = batches[job.first] ?? acceptedBefore
      if batches.count > 10_000 { batches = [:] }
      batches[job.first] = finding.accepted
      return finding.accepted > before
    }
  }
  private let queue: DispatchQueue
  private let isClosed = Atomic<Bool>(false)

  /// - Parameter name: The thread's name, for tools that list threads.
  init(name: String, _ store: consuming sending Store) {
    self.store = Mutex(store)
    queue = DispatchQueue(label: name)
  }

  /// Calls the sink's maintenance periodically, between batches, until the sink is closed.
  func performMaintenance(each interval: Duration) {
    queue.asyncAfter(deadline: .now() + interval / .seconds(1)) { [weak self] in
      guard let self, !isClosed.load(ordering: .relaxed) else { return }
      store.withLock { $0.performMaintenance() }
      performMaintenance(each: interval)
    }
  }

  /// As ``Sink/store(_:)``.
  func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    guard !deliveries.isEmpty else { return [] }
    let ticket = CancellationCheck.Ticket()
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { done in
        waiting.withLock { $0.append(Job(deliveries: deliveries, ticket: ticket, done: done)) }
        // Each job enqueues one turn. The first turn may process several jobs; then later turns find nothing to do.
        queue.async { self.takeTurn() }
      }
    } onCancel: {
      ticket.giveUp()
      // A cancelled job that hasn't started is removed: otherwise it would wait for another lane's slow batch.
      let job = waiting.withLock { jobs in
        jobs.firstIndex { $0.ticket === ticket }.map { jobs.remove(at: $0) }
      }
      job?.done.resume(returning: .failure(Self.cancelled))
    }
    return try result.get()
  }

  /// As ``Sink/close()``.
  func close() async throws(SinkFailure) {
    isClosed.store(true, ordering: .relaxed)
    let result: Result<Void, SinkFailure> = await withCheckedContinuation { done in
      queue.async {
        let result: Result<Void, SinkFailure> = self.store.withLock { store in
          do throws(SinkFailure) { return .success(try store.close()) } catch { return .failure(error) }
        }
        done.resume(returning: result)
      }
    }
    return try result.get()
  }

  private static var cancelled: SinkFailure { SinkFailure("nothing was stored: it was cancelled") }

  private func takeTurn() {
    let jobs = take()
    guard !jobs.isEmpty else { return }
    let patience = CancellationCheck(tickets: jobs.map(\.ticket))
    let acceptedBefore = faults.withLock { $0.finding.accepted }
    let whole = attempt(jobs.count == 1 ? jobs[0].deliveries : jobs.flatMap(\.deliveries), patience)
    switch whole {
    case .success(let outcomes):
      var place = 0
      for job in jobs {
        let end = place + job.deliveries.count
        noteStored(job.deliveries, outcomes[place..<end])
        job.done.resume(returning: .success(Array(outcomes[place..<end])))
        place = end
      }
    case .failure(let failure):
      for job in jobs { job.done.resume(returning: isolate(job, failure, acceptedBefore)) }
    }
  }

  private func attempt(_ deliveries: [Delivery], _ patience: CancellationCheck) -> Result<[SinkOutcome], SinkFailure> {
    store.withLock { store in
      do throws(SinkFailure) {
        let outcomes = try store.store(deliveries, patience)
        guard outcomes.count == deliveries.count else {
          throw SinkFailure("there are \(outcomes.count) outcomes for \(deliveries.count) deliveries")
        }
        return .success(outcomes)
      } catch {
        return .failure(error)
      }
    }
  }

  private func noteStored(_ deliveries: [Delivery], _ outcomes: ArraySlice<SinkOutcome>) {
    faults.withLock { faults in
      for (delivery, outcome) in zip(deliveries, outcomes) {
        switch outcome {
        case .stored, .duplicate: faults.finding.noteAccepted(delivery.header.id)
        case .failed, .postponed, .untried, .setAside: faults.finding.forget(delivery.header.id)
        }
        faults.batches[delivery.header.id] = nil
      }
    }
  }

  // MARK: One payload of many

  /// The search for payloads at fault in a batch.
  private struct Search {
    let deliveries: [Delivery]
    let patience: CancellationCheck
    var outcomes: [SinkOutcome?]
    /// The failures of payloads that failed alone.
    var alone: [Int: SinkFailure] = [:]
    var failuresInARow = 0
    var hasStored = false

    /// Whether the search ends without a result: four payloads in a row failed alone and none was stored, so the sink
    /// is at fault; or nobody waits any more.
    var isHopeless: Bool { failuresInARow >= 4 && !hasStored || patience.isOver }
  }

  /// Stores the good payloads of a batch that failed.
  private func isolate(
    _ job: Job, _ failure: SinkFailure, _ acceptedBefore: Int
  ) -> Result<[SinkOutcome], SinkFailure> {
    let storesOthers = faults.withLock { $0.noteFailed(job, acceptedBefore) }
    guard storesOthers || failure.cause == .perhapsPayload && job.deliveries.count > 1 else { return .failure(failure) }
    guard job.deliveries.count > 1 else { return .success([verdict(job.first, failure, acceptedBefore)]) }
    var search = Search(
      deliveries: job.deliveries, patience: CancellationCheck(tickets: [job.ticket]),
      outcomes: Array(repeating: nil, count: job.deliveries.count))
    halve(job.deliveries.indices, &search)
    guard search.hasStored || storesOthers else { return .failure(search.alone.first?.value ?? failure) }
    return .success(
      search.outcomes.enumerated().map { place, outcome in
        if let outcome { return outcome }
        guard let failure = search.alone[place] else { return .untried(retryAfter: nil) }
        return verdict(job.deliveries[place].header.id, failure, acceptedBefore)
      })
  }

  private func verdict(_ id: EnvelopeID, _ failure: SinkFailure, _ acceptedBefore: Int) -> SinkOutcome {
    switch faults.withLock({ $0.finding.noteFailed(id, since: acceptedBefore) }) {
    case .payload where failure.cause != .noRoom: .failed(reason: "\(failure)", retryable: true)
    case .payload: .postponed(Postponement(reason: "\(failure)", isCounted: false, failures: 1))
    case .unsteady(let failures), .unknown(let failures):
      .postponed(Postponement(reason: "\(failure)", isCounted: false, failures: failures))
    }
  }

  private func halve(_ range: Range<Int>, _ search: inout Search) {
    let half = range.lowerBound + range.count / 2
    for part in [range.lowerBound..<half, half..<range.upperBound] where !part.isEmpty && !search.isHopeless {
      let deliveries = Array(search.deliveries[part])
      switch attempt(deliveries, search.patience) {
      case .success(let outcomes):
        noteStored(deliveries, outcomes[...])
        for (place, outcome) in zip(part, outcomes) { search.outcomes[place] = outcome }
        search.failuresInARow = 0
        search.hasStored = true
      case .failure(let failure) where part.count == 1:
        search.alone[part.lowerBound] = failure
        search.failuresInARow += 1
      case .failure: halve(part, &search)
      }
    }
  }

  // MARK: Waiting

  private func take() -> [Job] {
    waiting.withLock { jobs in
      var deliveries = 0
      var bytes = 0
      let suspects = faults.withLock { faults in jobs.map { faults.batches[$0.first] != nil } }
      let end = jobs.indices.first { place in
        deliveries += jobs[place].deliveries.count
        bytes += jobs[place].deliveries.reduce(0) { $0 + $1.body.bytes.count }
        return deliveries > Self.mostDeliveries || bytes > Self.mostBytes || suspects[place]
      }
      let taken = max(end ?? jobs.count, min(jobs.count, 1))
      defer { jobs.removeFirst(taken) }
      return Array(jobs[..<taken])
    }
  }
}
