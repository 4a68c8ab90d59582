// A backend of swift-metrics in Prometheus's text format, version 0.0.4.
//
// It is not a package, because no package has all three properties: counting is one atomic addition without a lock, so
// that the event loops of a node can count every answer; the number of series has a limit, so that a label with values
// from clients can't use up the memory; and the output is valid for any names of metrics: a scrape that Prometheus
// can't parse loses all metrics, not only the wrong one.

public import CoreMetrics
internal import Synchronization

/// Holds every metric of the process and renders them. Pass it to `MetricsSystem.bootstrap`.
///
/// Creating a metric takes a lock, so keep the `Counter` instead of creating it for each increment. Two metrics with
/// the same name and labels are one series.
public final class PrometheusRegistry: MetricsFactory {
  /// The content type of ``render()``'s text.
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// The options of a registry.
  public struct Options: Sendable {
    /// Maximum series (a name with one set of labels; a histogram counts once). Beyond it a new metric counts nothing
    /// and isn't shown.
    public var seriesLimit = 2_000
    /// Upper bounds of timers' buckets, in seconds, ascending.
    public var timerBuckets: [Double] = [
      0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    /// Upper bounds of recorders' buckets, ascending. The range is wide, because it is for counts and for bytes.
    public var recorderBuckets: [Double] = [
      1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
    ]
    /// Help texts by the metric's name as callers write it.
    public var help: [String: String] = [:]

    public init() {}
  }

  private let options: Options
  private let help: [String: String]
  private let families = Mutex(Families())
  private let overLimit = CounterSeries()
  private let conflicting = CounterSeries()

  /// The name of the counter of metrics that this registry has refused.
  static let refusedName = "metrics_refused_total"

  public init(_ options: Options = Options()) {
    self.options = options
    help = Dictionary(
      options.help.map { (MetricName.sanitised($0.key), $0.value) }, uniquingKeysWith: { first, _ in first })
    families.withLock {
      $0.add(overLimit, to: Self.refusedName, .counter, [MetricLabel("reason", "limit")])
      $0.add(conflicting, to: Self.refusedName, .counter, [MetricLabel("reason", "conflict")])
    }
  }

  // MARK: Rendering

  /// The current values of all metrics, sorted by name and labels, so that two scrapes differ only in their values.
  public func render() -> String {
    var text = ""
    // A copy, so that creating a metric doesn't wait for a scrape.
    for (name, family) in families.withLock({ $0.byName }).sorted(by: { $0.key < $1.key }) {
      var samples = ""
      for (labels, series) in family.series.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
        series.append(to: &samples, name: name, labels: labels)
      }
      // A family without samples has no header lines either.
      if samples.isEmpty { continue }
      if let help = help[name] { text += "# HELP \(name) \(Exposition.escapedHelp(help))\n" }
      text += "# TYPE \(name) \(family.kind.rawValue)\n"
      text += samples
    }
    return text
  }

  // MARK: Making metrics

  public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    series(label, .counter, dimensions) { CounterSeries() } ?? NOOPMetricsHandler.instance
  }

  public func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    series(label, .counter, dimensions) { CounterSeries() } ?? NOOPMetricsHandler.instance
  }

  public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    series(label, .gauge, dimensions) { GaugeSeries() } ?? NOOPMetricsHandler.instance
  }

  /// An aggregating recorder becomes a histogram, whose buckets can be added over several nodes (a summary's quantiles
  /// can't). Any other recorder shows its last value.
  public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    if aggregate {
      series(label, .histogram, dimensions) { HistogramSeries(bounds: options.recorderBuckets) }
        ?? NOOPMetricsHandler.instance
    } else {
      series(label, .gauge, dimensions) { GaugeSeries() } ?? NOOPMetricsHandler.instance
    }
  }

  public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    series(label, .histogram, dimensions) { HistogramSeries(bounds: options.timerBuckets) }
      ?? NOOPMetricsHandler.instance
  }

  /// The series with this name and these labels, created if it doesn't exist; nil if it may not be created.
  private func series<Made: Series>(
    _ label: String, _ kind: MetricKind, _ dimensions: [(String, String)], _ make: () -> Made
  ) -> Made? {
    let name = MetricName.sanitised(label)
    let labels = MetricLabel.sanitised(dimensions)
    return families.withLock { families -> Made? in
      guard families.mayHold(name, kind) else {
        conflicting.increment(by: Int64(1))
        return nil
      }
      // The kind belongs to the family, and each kind has one class, so the cast can't fail.
      if let known = families.byName[name]?.series[labels] { return known as? Made }
      // Names have the same limit: a family stays when its last series is destroyed.
      guard families.count < options.seriesLimit,
        families.byName[name] != nil || families.byName.count < options.seriesLimit
      else {
        overLimit.increment(by: Int64(1))
        return nil
      }
      let made = make()
      families.add(made, to: name, kind, labels)
      return made
    }
  }

  // MARK: Destroying metrics

  public func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
  public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
  public func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
  public func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
  public func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

  private func remove(_ handler: AnyObject) {
    families.withLock { $0.remove(handler) }
  }
}

/// The kinds of metrics that are used here.
enum MetricKind: String, Sendable {
  case counter
  case gauge
  case histogram

  /// The sample names of a family of this kind.
  func sampleNames(of family: String) -> [String] {
    self == .histogram ? [family, "\(family)_bucket", "\(family)_sum", "\(family)_count"] : [family]
  }
}

/// A name with one set of labels.
protocol Series: AnyObject, Sendable {
  /// Appends its samples; none before it has a value.
  func append(to text: inout String, name: String, labels: [MetricLabel])
}

/// All series, by family. A value, guarded by the registry's lock.
private struct Families {
  struct Family {
    let kind: MetricKind
    var series: [[MetricLabel]: any Series] = [:]
  }

  private(set) var byName: [String: Family] = [:]
  private(set) var count = 0
  /// The family of each sample's name: a histogram `x` also owns `x_sum`.
  private var owner: [String: String] = [:]

  /// Whether a family may have this kind. It may not if it already has another kind, or if another family uses one of
  /// its sample names.
  func mayHold(_ name: String, _ kind: MetricKind) -> Bool {
    if let family = byName[name] { return family.kind == kind }
    return kind.sampleNames(of: name).allSatisfy { owner[$0] == nil }
  }

  mutating func add(_ series: any Series, to name: String, _ kind: MetricKind, _ labels: [MetricLabel]) {
    for sample in kind.sampleNames(of: name) { owner[sample] = name }
    byName[name, default: Family(kind: kind)].series[labels] = series
    count += 1
  }

  /// Removes a series. Its family stays, even if empty: a name that changes its kind would confuse Prometheus.
  mutating func remove(_ handler: AnyObject) {
    for (name, family) in byName {
      guard let labels = family.series.first(where: { $0.value === handler })?.key else { continue }
      byName[name]?.series[labels] = nil
      count -= 1
      return
    }
  }
}
