// A folder of a test's own that doesn't outlive it: removed with the object, at the latest when the process exits. What a
// crashed test process left behind is removed by the next one, which is why the owner's pid is part of the name.
// It lies in /tmp and has a short name, because a Unix socket's path may have no more than 107 bytes.

public import Foundation
import Synchronization

/// A fresh, empty folder that is removed with this object.
public final class TemporaryFolder: Sendable {
  public let path: String

  public init() throws {
    _ = Self.sweptOnce
    let id = String(UInt64.random(in: 0...UInt64.max), radix: 36)
    path = "\(Self.root)/\(Self.prefix)\(getpid())-\(id)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    Self.live.withLock { _ = $0.insert(path) }
  }

  deinit { remove() }

  /// Removes the folder with all that is in it. Harmless when that was done already.
  public func remove() {
    let mine = Self.live.withLock { $0.remove(path) != nil }
    if mine { Self.removeNow(path) }
  }

  public func path(_ name: String) -> String { "\(path)/\(name)" }

  public func url(_ name: String) -> URL { URL(fileURLWithPath: path(name)) }

  private static let root = "/tmp"
  private static let prefix = "sluice-test-"
  private static let live = Mutex<Set<String>>([])

  private static func removeNow(_ path: String) {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      print("could not remove \(path): \(error)")
    }
  }

  private static let sweptOnce: Void = {
    atexit {
      ChildProcess.killAll()
      for path in TemporaryFolder.live.withLock({ $0 }) { TemporaryFolder.removeNow(path) }
    }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    for name in names where name.hasPrefix(prefix) {
      let owner = name.dropFirst(prefix.count).prefix { $0 != "-" }
      if let pid = pid_t(owner), kill(pid, 0) != 0, errno == ESRCH { removeNow("\(root)/\(name)") }
    }
  }()
}
