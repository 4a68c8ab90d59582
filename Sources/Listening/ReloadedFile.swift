// Files that a running process reads again when they change: certificates, and bearer tokens. Reading a file may block,
// so all of it is done on NIO's thread pool.

internal import Foundation
internal import NIOPosix
internal import ServiceLifecycle
internal import UnixSignals

/// A file that is read again when it changes; see ``FileFingerprint``.
package enum ReloadedFile {
  /// Maximum bytes of a file. Bundles of all public authorities are a quarter of it.
  private static let limit = 1 << 20

  /// Why a file can't be read, to follow the words "expected …, got".
  package struct Unreadable: Error {
    package let found: String
  }

  /// Reads a whole file, which blocks.
  package static func read(_ file: String) throws(Unreadable) -> [UInt8] {
    // Without O_NONBLOCK, opening a pipe without a writer would block.
    let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Unreadable(found: String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Foundation.read(descriptor, &part, part.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Unreadable(found: String(cString: strerror(errno))) }
      if count == 0 { return bytes }
      bytes += part.prefix(count)
      guard bytes.count <= limit else { throw Unreadable(found: "more than \(limit) bytes") }
    }
  }

  /// Runs until the process ends. Once this has begun, SIGHUP doesn't end the process. That remains so after this has
  /// returned, while connections still end, because Dispatch leaves its handler installed.
  /// - Parameters:
  ///   - interval: The pause between two looks.
  ///   - began: Called once, when SIGHUP is handled.
  ///   - hangup: Called for each SIGHUP. May block.
  ///   - look: Called after each pause. May block.
  package static func watch(
    every interval: Duration, began: @escaping @Sendable () -> Void = {}, hangup: @escaping @Sendable () -> Void,
    look: @escaping @Sendable () -> Void
  ) async {
    await cancelWhenGracefulShutdown {
      let hangups = await UnixSignalsSequence(trapping: .sighup)
      began()
      await withDiscardingTaskGroup { group in
        group.addTask { for await _ in hangups { await aside(hangup) } }
        while !Task.isCancelled {
          do { try await Task.sleep(for: interval) } catch { break }
          await aside(look)
        }
      }
    }
  }

  private static func aside(_ body: @escaping @Sendable () -> Void) async {
    do {
      try await NIOThreadPool.singleton.runIfActive(body)
    } catch {
      // The process's shared pool never ends. So the process ended before the work began, and there is nothing to do.
    }
  }
}
