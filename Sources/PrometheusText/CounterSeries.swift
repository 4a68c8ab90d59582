internal import CoreMetrics
internal import Synchronization

/// A number that only goes up. Integer and fractional increments are stored separately, so that an integer increment is
/// a single atomic addition and stays exact beyond 2^53.
final class CounterSeries: CounterHandler, FloatingPointCounterHandler, Series {
  private let whole = Atomic<UInt64>(0)
  private let fractional = Atomic<Double>(0)

  /// Negative amounts are ignored: a counter never goes down.
  func increment(by amount: Int64) {
    guard amount > 0 else { return }
    whole.wrappingAdd(UInt64(amount), ordering: .relaxed)
  }

  /// Negative amounts, infinities and NaN are ignored: the counter could never recover from them.
  func increment(by amount: Double) {
    guard amount > 0, amount.isFinite else { return }
    fractional.add(amount)
  }

  func reset() {
    whole.store(0, ordering: .relaxed)
    fractional.store(0, ordering: .relaxed)
  }

  func append(to text: inout String, name: String, labels: [MetricLabel]) {
    let whole = whole.load(ordering: .relaxed)
    let fractional = fractional.load(ordering: .relaxed)
    let value = fractional == 0 ? String(whole) : Exposition.number(Double(whole) + fractional)
    Exposition.appendSample(to: &text, name: name, labels: labels, value: value)
  }
}

extension Atomic<Double> {
  /// There is no atomic addition of floating point numbers, so this uses compare-and-exchange until it succeeds.
  func add(_ amount: Double) {
    var old = load(ordering: .relaxed)
    while true {
      let (exchanged, original) = weakCompareExchange(expected: old, desired: old + amount, ordering: .relaxed)
      if exchanged { return }
      old = original
    }
  }
}
