internal import CoreMetrics
internal import Synchronization

/// A number that goes up and down. It isn't shown before it has a value: "never" must not look like zero.
final class GaugeSeries: MeterHandler, RecorderHandler, Series {
  private let value = Atomic<Double>(0)
  private let hasValue = Atomic<Bool>(false)

  func set(_ value: Int64) { set(Double(value)) }

  func set(_ value: Double) {
    self.value.store(value, ordering: .relaxed)
    // Stored after the value with release ordering, so that a reader that sees the flag sees this value or a later one.
    hasValue.store(true, ordering: .releasing)
  }

  func increment(by amount: Double) {
    value.add(amount)
    hasValue.store(true, ordering: .releasing)
  }

  func decrement(by amount: Double) { increment(by: -amount) }
  func record(_ value: Int64) { set(value) }
  func record(_ value: Double) { set(value) }

  func append(to text: inout String, name: String, labels: [MetricLabel]) {
    guard hasValue.load(ordering: .acquiring) else { return }
    let value = Exposition.number(value.load(ordering: .relaxed))
    Exposition.appendSample(to: &text, name: name, labels: labels, value: value)
  }
}
