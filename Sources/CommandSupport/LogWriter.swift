// Log lines on their way to standard error. Whoever logs must not wait for whoever reads the log: a pipe that isn't
// read is full after 64 KiB, and an event loop that writes to it stands still, with every request on it. So lines are
// handed to a thread of their own. What doesn't fit beside the lines that wait there is dropped, counted, and said in
// the log as soon as it is read again.

internal import Dispatch
internal import Foundation
internal import Synchronization

/// Writes lines to a descriptor from a thread of its own.
final class LogWriter: TextOutputStream, Sendable {
  private struct State {
    var waiting: [UInt8] = []
    var dropped = 0
    var isWriting = false
    /// Signalled when nothing waits and nothing is being written.
    var flushes: [DispatchSemaphore] = []
  }

  /// Bytes of lines that may wait.
  static let maxWaiting = 1 << 20

  /// Lines that were written before the process ends are written to the end, if they are read within a second.
  static let standardError: LogWriter = {
    let writer = LogWriter(to: STDERR_FILENO)
    atexit { LogWriter.standardError.flush(within: .seconds(1)) }
    return writer
  }()

  private let state = Mutex(State())
  private let news = DispatchSemaphore(value: 0)

  /// - Parameter descriptor: Stays open for as long as the process lives.
  init(to descriptor: Int32) {
    let thread = Thread { [self] in
      while true { write(nextLines(), to: descriptor) }
    }
    thread.name = "log"
    thread.start()
  }

  /// Takes a whole line. Doesn't wait.
  func write(_ line: String) {
    let isFirst = state.withLock { state in
      guard state.waiting.count + line.utf8.count <= Self.maxWaiting else {
        state.dropped += 1
        return false
      }
      let wasEmpty = state.waiting.isEmpty
      state.waiting += line.utf8
      return wasEmpty
    }
    if isFirst { news.signal() }
  }

  /// Waits until all lines are written, or for so long.
  func flush(within limit: DispatchTimeInterval) {
    let written = DispatchSemaphore(value: 0)
    let isIdle = state.withLock { state in
      guard state.isWriting || !state.waiting.isEmpty else { return true }
      state.flushes.append(written)
      return false
    }
    // What isn't read by then is lost, as it would be with a full disk.
    if !isIdle { _ = written.wait(timeout: .now() + limit) }
  }

  /// Waits until there are some.
  private func nextLines() -> [UInt8] {
    while true {
      let lines = state.withLock { state -> [UInt8]? in
        guard !state.waiting.isEmpty else {
          state.isWriting = false
          for flush in state.flushes { flush.signal() }
          state.flushes = []
          return nil
        }
        state.isWriting = true
        var lines = state.waiting
        state.waiting = []
        if state.dropped > 0 {
          lines += "\(state.dropped) log lines were dropped here: standard error wasn't read fast enough\n".utf8
          state.dropped = 0
        }
        return lines
      }
      if let lines { return lines }
      news.wait()
    }
  }

  private func write(_ lines: [UInt8], to descriptor: Int32) {
    var rest = lines[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if count < 0, errno == EAGAIN {
        // Somebody has made it non-blocking.
        var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&wanted, 1, -1)
      } else if count == 0 || errno != EINTR {
        // Nobody reads any more, or the disk is full. There is nowhere to say it.
        return
      }
    }
  }
}
