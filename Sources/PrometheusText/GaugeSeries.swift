internal import CoreMetrics
internal import Synchronization

/// A number that goes up and down.
final class GaugeSeries: MeterHandler, RecorderHandler, Series {
  private let value = Atomic<Double>(0)

  func set(_ value: Int64) { set(Double(value)) }
  func set(_ value: Double) { self.value.store(value, ordering: .relaxed) }
  func increment(by amount: Double) { value.add(amount) }
  func decrement(by amount: Double) { value.add(-amount) }
  func record(_ value: Int64) { set(value) }
  func record(_ value: Double) { set(value) }

  func append(to text: inout String, name: String, labels: [MetricLabel]) {
    let value = Exposition.number(value.load(ordering: .relaxed))
    Exposition.appendSample(to: &text, name: name, labels: labels, value: value)
  }
}
