// One text selects a sink: its scheme, before the colon, is the kind of sink. So a new kind of sink needs no new
// options.

public import Logging

/// A worker's sink, as an operator writes it: `sqlite:PATH`, `postgres://…`, `https://…`, `files:FOLDER`.
public enum SinkAddress: Sendable, Equatable, CustomStringConvertible {
  /// A file. It is created if it doesn't exist; its folder must exist.
  case sqlite(path: String)
  case postgres(PostgresAddress)
  case http(HTTPSinkAddress)
  case files(FileSinkAddress)
  /// Discards payloads, to measure how fast a queue is processed.
  case none

  /// The form of an address, to follow the word "expected".
  public static let expectation =
    "sqlite:PATH, postgres://…, http://…, https://…, files:FOLDER, or none: (discards all payloads)"

  /// - Throws: ``InvalidSinkAddress``, without any secret that the text may contain.
  public init(_ text: String) throws(InvalidSinkAddress) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch parts[0] {
    case "sqlite" where parts.count == 2 && !parts[1].isEmpty: self = .sqlite(path: String(parts[1]))
    case "postgres", "postgresql": self = .postgres(try PostgresAddress(text))
    case "http", "https": self = .http(try HTTPSinkAddress(text))
    case "none" where text == "none:": self = .none
    case "files" where parts.count == 2: self = .files(try FileSinkAddress(String(parts[1])))
    default:
      // There may be a password after the colon.
      let came = parts.count == 2 ? parts[0] + ":…" : parts[0]
      throw InvalidSinkAddress("expected \(Self.expectation), got \"\(came.prefix(100))\"")
    }
  }

  /// Without secrets.
  public var description: String {
    switch self {
    case .sqlite(let path): "sqlite:\(path)"
    case .postgres(let address): "\(address)"
    case .http(let address): "\(address)"
    case .files(let address): "\(address)"
    case .none: "none:"
    }
  }

  /// Opens the sink.
  /// - Parameter logger: Logs actions that a sink takes by itself.
  public func open(logger: Logger) throws(SinkFailure) -> any Sink {
    switch self {
    case .sqlite(let path): try SQLiteSink(path: path)
    case .postgres(let address): PostgresSink(address)
    case .http(let address): HTTPSink(address)
    case .files(let address): try FileSink(address, logger: logger)
    case .none: NoSink()
    }
  }
}

/// The text isn't a sink's address. The description is the second half of a sentence, and has no secrets.
public struct InvalidSinkAddress: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}
