internal import CoreMetrics
internal import Synchronization

/// The number of values up to each of some bounds.
///
/// Each bucket is a separate atomic and counts only its own values. The format's cumulative sums are calculated when it
/// is rendered, so `_count` always equals the last bucket. `_sum` may be a value behind or ahead.
// Unchecked because of the pointer: it never changes, and it points to atomics.
final class HistogramSeries: RecorderHandler, TimerHandler, Series, @unchecked Sendable {
  private let bounds: [Double]
  /// One more than the number of bounds: the last bucket is for values above all bounds.
  private let buckets: UnsafeMutablePointer<Atomic<UInt64>>
  private let sum = Atomic<Double>(0)

  /// - Parameter bounds: Ascending.
  init(bounds: [Double]) {
    precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "a histogram's bounds ascend")
    self.bounds = bounds
    buckets = .allocate(capacity: bounds.count + 1)
    for index in 0...bounds.count { (buckets + index).initialize(to: Atomic(0)) }
  }

  deinit {
    buckets.deinitialize(count: bounds.count + 1)
    buckets.deallocate()
  }

  func record(_ value: Int64) { record(Double(value)) }

  /// Infinities and NaN are ignored: the sum could never recover from them.
  func record(_ value: Double) {
    guard value.isFinite else { return }
    // At most some twenty bounds: a linear search is faster than a binary one.
    var index = 0
    while index < bounds.count, value > bounds[index] { index += 1 }
    buckets[index].wrappingAdd(1, ordering: .relaxed)
    sum.add(value)
  }

  /// Shown in seconds, whatever the timer's preferred unit, as is Prometheus's convention.
  func recordNanoseconds(_ duration: Int64) {
    // A clock that was set back can make a duration negative.
    record(Double(max(duration, 0)) / 1_000_000_000)
  }

  func append(to text: inout String, name: String, labels: [MetricLabel]) {
    var count: UInt64 = 0
    for index in 0...bounds.count {
      count += buckets[index].load(ordering: .relaxed)
      let bound = index < bounds.count ? Exposition.number(bounds[index]) : "+Inf"
      Exposition.appendSample(to: &text, name: "\(name)_bucket", labels: labels, bound: bound, value: String(count))
    }
    let sum = Exposition.number(sum.load(ordering: .relaxed))
    Exposition.appendSample(to: &text, name: "\(name)_sum", labels: labels, value: sum)
    Exposition.appendSample(to: &text, name: "\(name)_count", labels: labels, value: String(count))
  }
}
