// A client's counters, in the process's swift-metrics backend or a given one.

internal import CoreMetrics

struct ClientMetrics: Sendable {
  private let factory: any MetricsFactory
  private let bufferedPayloads: Gauge
  private let bufferedBytes: Gauge
  private let state: Gauge

  init(_ factory: any MetricsFactory) {
    self.factory = factory
    bufferedPayloads = Gauge(label: "sluice_client_buffered_payloads", dimensions: [], factory: factory)
    bufferedBytes = Gauge(label: "sluice_client_buffered_bytes", dimensions: [], factory: factory)
    state = Gauge(label: "sluice_client_state", dimensions: [], factory: factory)
  }

  /// `sluice_client_attempts_total`: one request, by its result.
  func attempt(_ result: AttemptResult) { count("sluice_client_attempts_total", ("result", result.code)) }

  /// `sluice_client_payloads_total`: one accepted payload, by its outcome.
  func ended(_ outcome: IngestClient.Outcome) {
    let code =
      switch outcome {
      case .delivered: "delivered"
      case .undelivered(let undelivered): undelivered.reason.code.description
      }
    count("sluice_client_payloads_total", ("outcome", code))
  }

  /// `sluice_client_rejections_total`: one payload that wasn't accepted, by the reason.
  func rejected(_ rejection: IngestClient.Rejection) {
    count("sluice_client_rejections_total", ("reason", rejection.code.description))
  }

  /// `sluice_client_buffered_payloads`, `sluice_client_buffered_bytes`.
  func buffered(_ payloads: Int, bytes: Int) {
    bufferedPayloads.record(payloads)
    bufferedBytes.record(bytes)
  }

  /// `sluice_client_state`: 0 engaged, 1 paused, 2 disengaged.
  func became(_ new: IngestClient.State) {
    let code =
      switch new {
      case .engaged: 0
      case .paused: 1
      case .disengaged: 2
      }
    state.record(code)
  }

  private func count(_ label: String, _ dimension: (String, String)) {
    Counter(label: label, dimensions: [dimension], factory: factory).increment()
  }
}
