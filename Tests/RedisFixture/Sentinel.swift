// Redis Sentinels, which promote a replica where the primary is gone. Real ones: how long they take, and for how long the deposed
// primary goes on calling itself primary, is what tests of a failover are about.

import Foundation
public import RedisClient
import Synchronization

/// A running `redis-server --sentinel`, alone of its folder. Killed with this object, and with the test process.
public final class Sentinel: Sendable {
  private let folder: TemporaryFolder
  private let process: ChildProcess
  public let port: Int

  private init(folder: TemporaryFolder, process: ChildProcess, port: Int) {
    self.folder = folder
    self.process = process
    self.port = port
  }

  deinit { process.signal(SIGKILL) }

  public var endpoint: RedisEndpoint { RedisEndpoint(address: .tcp(host: "127.0.0.1", port: port)) }

  /// What it has logged.
  public var log: String { process.standardOutput.text }

  /// Starts one that watches a primary.
  /// - Parameters:
  ///   - name: What the primary is called among them.
  ///   - quorum: How many of them must find it gone.
  ///   - downAfter: After how long without an answer, in milliseconds.
  ///   - lines: More of its configuration, given its port.
  public static func start(
    watching primary: RedisServer, as name: String, quorum: Int, downAfter: Int,
    _ lines: (_ port: Int) -> [String] = { _ in [] }
  ) async throws -> Sentinel {
    let folder = try TemporaryFolder()
    let file = folder.path("sentinel.conf")
    for _ in 1...20 {
      // As with servers: it tries by itself whether the port is free.
      let port = Int.random(in: 10_000..<32_000)
      let all = [
        "bind 127.0.0.1", "port \(port)", "dir \(folder.path)",
        "sentinel monitor \(name) 127.0.0.1 \(primary.port) \(quorum)",
        "sentinel down-after-milliseconds \(name) \(downAfter)", "sentinel failover-timeout \(name) 3000",
      ]
      try ((all + lines(port)).joined(separator: "\n") + "\n").write(toFile: file, atomically: true, encoding: .utf8)
      let process = try await ChildProcess.start(primary.options.program(), [file, "--sentinel"])
      try await eventually("a sentinel watches") {
        process.status != nil || process.standardOutput.text.contains("+monitor")
      }
      if process.status == nil { return Sentinel(folder: folder, process: process, port: port) }
      try await eventually("its output is read to the end") { process.standardOutput.isComplete }
      let log = process.standardOutput.text
      guard log.contains("Address already in use") else { throw CannotStart(description: "a sentinel ended\n\(log)") }
    }
    throw CannotStart(description: "twenty ports of 127.0.0.1 were all taken")
  }

  /// Holds it (SIGSTOP): it takes connections and doesn't answer.
  public func pause() { process.signal(SIGSTOP) }

  public func kill9() async throws {
    process.signal(SIGKILL)
    _ = try await process.waitForExit(within: .seconds(10))
    folder.remove()
  }
}
