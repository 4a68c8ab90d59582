public import Logging
import Synchronization

/// What was logged, line by line: level, message and metadata.
public final class RecordedLog: Sendable {
  public struct Line: Sendable, CustomStringConvertible {
    public let level: Logger.Level
    public let message: String
    public let metadata: Logger.Metadata

    public var description: String {
      "\(level) \(message) \(metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " "))"
    }
  }

  private let recorded = Mutex<[Line]>([])

  public init() {}

  public var lines: [Line] { recorded.withLock { $0 } }

  /// All of them.
  public var text: String { lines.map { "\($0)" }.joined(separator: "\n") }

  public func lines(_ level: Logger.Level) -> [Line] { lines.filter { $0.level == level } }

  public var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

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
