// The log line and the metric for a listener that can't accept connections.

package import Logging
internal import Metrics

package struct AcceptFailures: Sendable {
  private let listener: String
  private let logger: Logger
  private let counter: Counter
  private let lines = LineLimiter(lines: 1, perSeconds: 10)

  /// - Parameter listener: The listener's name, for the log and the metrics.
  package init(of listener: String, logger: Logger) {
    self.listener = listener
    self.logger = logger
    counter = Counter(label: "sluice_accept_failures_total", dimensions: [("listener", listener)])
  }

  package func note(_ error: any Error) {
    counter.increment()
    lines.write(
      .error, "accepting a connection failed", ["listener": "\(listener)", "reason": "\(error)"], to: logger)
  }
}
