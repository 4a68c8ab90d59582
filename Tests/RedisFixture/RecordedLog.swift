import Logging
import Synchronization

/// What was logged, line by line: level, message and metadata.
final class RecordedLog: Sendable {
  struct Line: Sendable, CustomStringConvertible {
    let level: Logger.Level
    let message: String
    let metadata: Logger.Metadata

    var description: String {
      "\(level) \(message) \(metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " "))"
    }
  }

  private let recorded = Mutex<[Line]>([])

  var lines: [Line] { recorded.withLock { $0 } }

  func lines(_ level: Logger.Level) -> [Line] { lines.filter { $0.level == level } }

  var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

  private struct Handler: LogHandler {
    let log: RecordedLog
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      log.recorded.withLock {
        $0.append(Line(level: event.level, message: "\(event.message)", metadata: event.metadata ?? [:]))
      }
    }
  }
}
