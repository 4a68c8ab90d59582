import Synchronization

/// What a process printed, line by line. Bounded: of a program that prints without end only the latest lines are kept.
public final class CapturedLines: Sendable {
  private struct State {
    var lines: [String] = []
    var unfinished: [UInt8] = []
    var complete = false
  }

  private static let limit = 20_000
  private static let longestLine = 1 << 16
  private let state = Mutex(State())

  /// The lines so far, the unfinished last one included.
  public var lines: [String] {
    state.withLock { state in
      state.unfinished.isEmpty ? state.lines : state.lines + [String(decoding: state.unfinished, as: UTF8.self)]
    }
  }

  public var text: String { lines.joined(separator: "\n") }

  /// Whether the program, and all processes that inherited its output, have closed it. No line will be added.
  public var isComplete: Bool { state.withLock { $0.complete } }

  func end() { state.withLock { $0.complete = true } }

  func append(_ bytes: some Sequence<UInt8>) {
    state.withLock { state in
      for byte in bytes {
        if byte != UInt8(ascii: "\n") { state.unfinished.append(byte) }
        if byte == UInt8(ascii: "\n") || state.unfinished.count == Self.longestLine {
          state.lines.append(String(decoding: state.unfinished, as: UTF8.self))
          state.unfinished.removeAll(keepingCapacity: true)
        }
      }
      if state.lines.count > Self.limit { state.lines.removeFirst(state.lines.count - Self.limit / 2) }
    }
  }
}
