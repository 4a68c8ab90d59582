// What a worker has done and is doing, as numbers: written by its lanes, read by whoever reports. A lock and not an actor, because a
// lane must not wait for its turn to count.

internal import Foundation
internal import Synchronization

/// What a worker says of itself.
public struct WorkerSnapshot: Sendable, Equatable {
  public enum State: String, Sendable, CaseIterable {
    case working
    /// The queue is empty.
    case idle
    /// Takes nothing new, and finishes what it has.
    case quiet
    /// Has ended.
    case stopped
    /// Redis or the sink is away; see ``WorkerSnapshot/lastError``.
    case trouble
  }

  public var name: String
  /// Which life of the worker this is.
  public var instance: String
  public var build: String
  public var state: State
  /// Envelopes that were dealt with in one way or another, since the start.
  public var processed: UInt64 = 0
  public var stored: UInt64 = 0
  /// Envelopes that the sink had already.
  public var duplicates: UInt64 = 0
  /// Envelopes that failed and come back later.
  public var retried: UInt64 = 0
  /// Envelopes that became dead letters.
  public var dead: UInt64 = 0
  /// Envelopes that were put back without an attempt being counted.
  public var putBack: UInt64 = 0
  /// Envelopes that others took over because this worker was too slow for its lease.
  public var lost: UInt64 = 0
  /// Envelopes that are claimed and not dealt with.
  public var inHand: Int = 0
  /// Envelopes a second, over the last few seconds.
  public var perSecond: Double = 0
  /// The sink's name.
  public var sink: String
  /// The last thing that went wrong, in words without secrets; nil if nothing has.
  public var lastError: String?
  /// Seconds since 1970, by this machine's clock.
  public var startedAt: Double
}

final class WorkerProgress: Sendable {
  private struct Inside {
    var snapshot: WorkerSnapshot
    /// Lanes by what keeps them from working.
    var troubled: Set<Int> = []
    var busy: Set<Int> = []
    var isQuiet = false
    /// For the rate: the moment and the number processed at that moment, some seconds ago.
    var marks: [(at: ContinuousClock.Instant, processed: UInt64)] = []
  }

  private static let rateWindow = Duration.seconds(5)
  private let inside: Mutex<Inside>

  init(name: String, instance: String, build: String, sink: String) {
    inside = Mutex(
      Inside(
        snapshot: WorkerSnapshot(
          name: name, instance: instance, build: build, state: .idle, sink: sink,
          startedAt: Date().timeIntervalSince1970)))
  }

  var snapshot: WorkerSnapshot {
    let now = ContinuousClock.now
    return inside.withLock { inside in
      var snapshot = inside.snapshot
      if snapshot.state != .stopped {
        snapshot.state =
          inside.isQuiet ? .quiet : !inside.troubled.isEmpty ? .trouble : inside.busy.isEmpty ? .idle : .working
      }
      inside.marks.removeAll { now - $0.at > Self.rateWindow }
      if let oldest = inside.marks.first, now > oldest.at {
        snapshot.perSecond = Double(snapshot.processed - oldest.processed) / ((now - oldest.at) / .seconds(1))
      }
      // At most ten marks a second, however often this is asked.
      if inside.marks.last.map({ now - $0.at > .milliseconds(100) }) ?? true {
        inside.marks.append((now, snapshot.processed))
      }
      return snapshot
    }
  }

  func claimed(_ count: Int, lane: Int) {
    inside.withLock {
      $0.snapshot.inHand += count
      $0.busy.insert(lane)
    }
  }

  func foundNothing(lane: Int) { inside.withLock { _ = $0.busy.remove(lane) } }

  /// A batch has left this worker's hands.
  func settled(_ count: Int, _ change: (inout WorkerSnapshot) -> Void) {
    inside.withLock {
      $0.snapshot.inHand -= count
      change(&$0.snapshot)
    }
  }

  func wentWrong(_ reason: String) { inside.withLock { $0.snapshot.lastError = reason } }

  /// The lane can't work, because of this.
  /// - Returns: Whether that is news.
  func isInTrouble(lane: Int, _ reason: String) -> Bool {
    inside.withLock {
      $0.snapshot.lastError = reason
      return $0.troubled.insert(lane).inserted
    }
  }

  /// The lane can work.
  /// - Returns: Whether that is news.
  func isFine(lane: Int) -> Bool { inside.withLock { $0.troubled.remove(lane) != nil } }

  func goQuiet() { inside.withLock { $0.isQuiet = true } }

  func stop() { inside.withLock { $0.snapshot.state = .stopped } }
}
