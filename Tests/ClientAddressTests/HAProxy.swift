// A real HAProxy, to test our parser with its headers. It is killed when its object is freed, and when the test process
// ends.

import Foundation
import RedisFixture

final class HAProxy: Sendable {
  private let process: ServiceProcess
  private let folder: TemporaryFolder
  /// The first of the ports that its configuration was given.
  let port: Int

  private init(process: ServiceProcess, folder: TemporaryFolder, port: Int) {
    self.process = process
    self.folder = folder
    self.port = port
  }

  deinit {
    process.kill9()
    folder.remove()
  }

  /// A Unix socket that the configuration's `unix@NAME.sock` names.
  func path(_ name: String) -> String { folder.path("\(name).sock") }

  /// Starts one and waits until it answers.
  /// - Parameter sections: The `listen` sections, for the first of a hundred ports and its folder.
  static func start(_ sections: (_ port: Int, _ folder: String) -> String) async throws -> HAProxy {
    let folder = try TemporaryFolder()
    for _ in 1...20 {
      // As with Redis servers: it tries by itself whether the ports are free. By default two of them would share one.
      let port = Int.random(in: 10_000..<31_900)
      let text = """
        global
          noreuseport
          stats socket unix@\(folder.path)/cli.sock
        defaults
          mode tcp
          timeout connect 5s
          timeout client 10s
          timeout server 10s
        \(sections(port, folder.path))

        """
      try text.write(toFile: folder.path("haproxy.cfg"), atomically: true, encoding: .utf8)
      let process = try await ServiceProcess.start("/usr/sbin/haproxy", ["-db", "-f", folder.path("haproxy.cfg")])
      try await eventually("HAProxy answers, or has ended") {
        if process.status != nil { return true }
        let cli = try Socket.connected(toPath: folder.path("cli.sock"))
        try cli.send(Array("show info\n".utf8))
        return try String(decoding: cli.received { _ in false }, as: UTF8.self).contains("Version:")
      }
      guard let status = process.status else { return HAProxy(process: process, folder: folder, port: port) }
      try await eventually("its output is read to the end") { process.standardError.isComplete }
      guard process.outputs.contains("Address already in use") else {
        throw NeverHappened(description: "HAProxy \(status)\n\(process.outputs)\n\(text)")
      }
    }
    throw NeverHappened(description: "twenty times a port of 127.0.0.1 was taken")
  }
}
