// Writes log lines to standard error. Code that logs must not wait for the log's reader: a pipe that isn't read is full
// after 64 KiB, and an event loop that writes to it stops, with every request on it. So a separate thread writes the
// lines. If too many lines wait for it, further ones are dropped and counted, and the log states their number as soon
// as it is read again.

internal import Dispatch
internal import Foundation
internal import Synchronization

/// Writes lines to a descriptor from a thread of its own.
final class LogWriter: TextOutputStream, Sendable {
  private struct State {
    var waiting: [UInt8] = []
    var dropped = 0
    var isWriting = false
    /// Signalled when no line waits and none is being written.
    var flushes: [DispatchSemaphore] = []
  }

  /// Maximum bytes of waiting lines.
  static let maxWaiting = 1 << 20

  /// At the end of the process, earlier lines are written completely if they are read within a second.
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
      // A write to a pipe without a reader must return an error. The signal would end the process.
      var signals = sigset_t()
      sigemptyset(&signals)
      sigaddset(&signals, SIGPIPE)
      pthread_sigmask(SIG_BLOCK, &signals, nil)
      while true { write(nextLines(), to: descriptor) }
    }
    thread.name = "log"
    thread.start()
  }

  /// Accepts a whole line. Doesn't wait.
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

  /// Waits until all lines are written, up to this time.
  func flush(within limit: DispatchTimeInterval) {
    let written = DispatchSemaphore(value: 0)
    let isIdle = state.withLock { state in
      guard state.isWriting || !state.waiting.isEmpty else { return true }
      state.flushes.append(written)
      return false
    }
    // Lines that aren't read by then are lost, as they would be with a full disk.
    if !isIdle { _ = written.wait(timeout: .now() + limit) }
  }

  /// Waits until there are lines.
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
        // Another process has made it non-blocking.
        var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&wanted, 1, -1)
      } else if count == 0 || errno != EINTR {
        // Nobody reads the log any more, or the disk is full. There is nowhere to report it.
        return
      }
    }
  }
}
