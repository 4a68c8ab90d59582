// What lanes bring while the sink is busy is stored together: one transaction and one fsync for all of it. The queue's producer
// does the same with pushes. So the longer a commit takes, the more goes into the next one, and nobody has to be told how slow the
// disk is.
//
// One queue of the system's, because what stores here blocks: threads of the concurrency pool mustn't. Rejected: a lock around a
// database, which stores one lane after the other and pays an fsync for each.

internal import Dispatch
internal import IngestQueue
internal import Synchronization

/// What blocks while it stores: a file, or a conversation. Used by one thread at a time.
protocol BlockingStore: SendableMetatype {
  /// As ``Sink/store(_:)``. Where it waits, it looks whether anybody still waits for it.
  mutating func store(_ deliveries: [Delivery], _ patience: Patience) throws(SinkFailure) -> [SinkOutcome]
  /// Does what has come due without a batch.
  mutating func tend()
  /// As ``Sink/close()``. Nothing is stored afterwards.
  mutating func close() throws(SinkFailure)
}

extension BlockingStore {
  mutating func tend() {}
}

/// Whether anybody still waits for what is being stored.
struct Patience: Sendable {
  fileprivate let tickets: [Ticket]

  /// Nobody does: the tasks are cancelled.
  var isOver: Bool { tickets.allSatisfy(\.isGivenUp) }

  fileprivate final class Ticket: Sendable {
    private let flag = Atomic<Bool>(false)
    var isGivenUp: Bool { flag.load(ordering: .relaxed) }
    func giveUp() { flag.store(true, ordering: .relaxed) }
  }

  /// For what nobody waits for by name: it never ends.
  static var endless: Patience { Patience(tickets: [Ticket()]) }
}

/// Stores batches of several lanes with one store, together where they come together.
final class GroupCommit<Store: BlockingStore>: Sendable {
  private struct Job: Sendable {
    let deliveries: [Delivery]
    let ticket: Patience.Ticket
    let done: CheckedContinuation<Result<[SinkOutcome], SinkFailure>, Never>
  }

  /// The most that is stored at once; a single batch may be larger.
  private static var mostDeliveries: Int { 4_000 }
  private static var mostBytes: Int { 32 << 20 }

  private let store: Mutex<Store>
  private let waiting = Mutex<[Job]>([])
  private let queue: DispatchQueue
  private let isClosed = Atomic<Bool>(false)

  /// - Parameter name: For whoever looks at the process's threads.
  init(name: String, _ store: consuming sending Store) {
    self.store = Mutex(store)
    queue = DispatchQueue(label: name)
  }

  /// Has the store tended now and then, in between, until it is closed.
  func tend(each interval: Duration) {
    queue.asyncAfter(deadline: .now() + interval / .seconds(1)) { [weak self] in
      guard let self, !isClosed.load(ordering: .relaxed) else { return }
      store.withLock { $0.tend() }
      tend(each: interval)
    }
  }

  /// As ``Sink/store(_:)``.
  func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    guard !deliveries.isEmpty else { return [] }
    let ticket = Patience.Ticket()
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { done in
        waiting.withLock { $0.append(Job(deliveries: deliveries, ticket: ticket, done: done)) }
        // One turn for each job. The first of them may take several jobs; then the others find nothing to do.
        queue.async { self.takeTurn() }
      }
    } onCancel: {
      ticket.giveUp()
      // Behind a slow batch of somebody else's it would have to wait for that one.
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
    let deliveries = jobs.count == 1 ? jobs[0].deliveries : jobs.flatMap(\.deliveries)
    let patience = Patience(tickets: jobs.map(\.ticket))
    var result: Result<[SinkOutcome], SinkFailure> = store.withLock { store in
      do throws(SinkFailure) { return .success(try store.store(deliveries, patience)) } catch { return .failure(error) }
    }
    if case .success(let outcomes) = result, outcomes.count != deliveries.count {
      result = .failure(SinkFailure("there are \(outcomes.count) outcomes for \(deliveries.count) deliveries"))
    }
    var place = 0
    for job in jobs {
      let end = place + job.deliveries.count
      job.done.resume(returning: result.map { Array($0[place..<end]) })
      place = end
    }
  }

  private func take() -> [Job] {
    waiting.withLock { jobs in
      var deliveries = 0
      var bytes = 0
      let end = jobs.firstIndex { job in
        deliveries += job.deliveries.count
        bytes += job.deliveries.reduce(0) { $0 + $1.body.bytes.count }
        return deliveries > Self.mostDeliveries || bytes > Self.mostBytes
      }
      let taken = max(end ?? jobs.count, min(jobs.count, 1))
      defer { jobs.removeFirst(taken) }
      return Array(jobs[..<taken])
    }
  }
}
