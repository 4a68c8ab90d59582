// One text names a sink, so that another kind of sink is another word before the colon and not another set of options.

/// Where a worker is to store, as an operator writes it: `sqlite:PATH`.
public enum SinkAddress: Sendable, Equatable, CustomStringConvertible {
  /// A file, which is made where there is none; its folder must exist.
  case sqlite(path: String)
  /// Nowhere: for measuring how fast a queue is worked on.
  case none

  /// What an address looks like, to follow the word "expected".
  public static let expectation = "sqlite:PATH, or none: to throw everything away"

  /// Nil for any other text.
  public init?(_ text: String) {
    if text == "none:" {
      self = .none
      return
    }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == "sqlite", !parts[1].isEmpty else { return nil }
    self = .sqlite(path: String(parts[1]))
  }

  public var description: String {
    switch self {
    case .sqlite(let path): "sqlite:\(path)"
    case .none: "none:"
    }
  }

  /// Opens it.
  public func open() throws(SinkFailure) -> any Sink {
    switch self {
    case .sqlite(let path): try SQLiteSink(path: path)
    case .none: NoSink()
    }
  }
}
