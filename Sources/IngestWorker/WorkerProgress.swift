// The counters of a worker: written by its lanes, read for reports. It uses a lock and not an actor, because a lane
// must not suspend to count.

internal import Fleet
internal import Foundation
internal import Synchronization

final class WorkerProgress: Sendable {
  private struct Inside {
    var report: WorkerReport
    /// Envelopes that were returned without counting an attempt.
    var putBack: UInt64 = 0
    /// Lanes that can't work, with the reason.
    var troubled: [ClaimLoop.ID: String] = [:]
    var busy: Set<ClaimLoop.ID> = []
    var isQuiet = false
    /// For the rate: some times of the last seconds, with the number of payloads that were processed by then.
    var marks: [(at: ContinuousClock.Instant, processed: UInt64)] = []
  }

  private static let rateWindow = Duration.seconds(5)
  let instance: String
  private let inside: Mutex<Inside>

  init(name: String, instance: String, build: String, sink: String) {
    self.instance = instance
    let now = Date().timeIntervalSince1970
    inside = Mutex(
      Inside(
        report: WorkerReport(
          name: name, build: build, instance: instance, state: .idle, processed: 0, stored: 0, duplicates: 0,
          retried: 0,
          dead: 0, inHand: 0, perSecond: 0, sink: sink, troubles: [], lastError: nil,
          startedAt: now, reportedAt: now)))
  }

  var report: WorkerReport {
    let now = ContinuousClock.now
    return inside.withLock { inside in
      var report = inside.report
      if report.state != .stopping {
        report.state =
          inside.isQuiet ? .quiet : !inside.troubled.isEmpty ? .trouble : inside.busy.isEmpty ? .idle : .working
      }
      report.troubles = Set(inside.troubled.map { Self.words($0.value, shard: $0.key.shard) }).sorted()
      inside.marks.removeAll { now - $0.at > Self.rateWindow }
      if let oldest = inside.marks.first, now > oldest.at {
        report.perSecond = Double(report.processed - oldest.processed) / ((now - oldest.at) / .seconds(1))
      }
      // At most ten marks a second, however often this is called.
      if inside.marks.last.map({ now - $0.at > .milliseconds(100) }) ?? true {
        inside.marks.append((now, report.processed))
      }
      report.reportedAt = Date().timeIntervalSince1970
      return report
    }
  }

  var putBack: UInt64 { inside.withLock { $0.putBack } }

  func claimed(_ count: Int, lane: ClaimLoop.ID) {
    inside.withLock {
      $0.report.inHand += count
      $0.busy.insert(lane)
    }
  }

  func foundNothing(lane: ClaimLoop.ID) { inside.withLock { _ = $0.busy.remove(lane) } }

  /// Records that a batch was settled.
  func settled(_ count: Int, putBack: Int, _ change: (inout WorkerReport) -> Void) {
    inside.withLock {
      $0.report.inHand -= count
      $0.report.processed += UInt64(count - putBack)
      $0.putBack += UInt64(putBack)
      change(&$0.report)
    }
  }

  /// Records that other workers have taken over a batch, because this worker was too slow for its lease.
  func lost(_ count: Int, _ reason: String, shard: Int) {
    inside.withLock {
      $0.report.inHand -= count
      $0.report.lastError = Self.words(reason, shard: shard)
    }
  }

  func wentWrong(_ reason: String, shard: Int) {
    inside.withLock { $0.report.lastError = Self.words(reason, shard: shard) }
  }

  private static func words(_ reason: String, shard: Int) -> String { "shard \(shard): \(reason)" }

  /// Records that the lane can't work, with the reason.
  /// - Returns: Whether that is new.
  func isInTrouble(lane: ClaimLoop.ID, _ reason: String) -> Bool {
    inside.withLock {
      $0.report.lastError = Self.words(reason, shard: lane.shard)
      return $0.troubled.updateValue(reason, forKey: lane) == nil
    }
  }

  /// Records that the lane can work.
  /// - Returns: Whether that is new.
  func isFine(lane: ClaimLoop.ID) -> Bool { inside.withLock { $0.troubled.removeValue(forKey: lane) != nil } }

  func goQuiet() { inside.withLock { $0.isQuiet = true } }

  func stop() { inside.withLock { $0.report.state = .stopping } }
}
