// A real nginx for one test, as one process: its master would leave its workers behind when it is killed.

import Foundation
import RedisFixture

/// A running nginx. Killed with its object, and with the test process.
final class Nginx: Sendable {
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

  /// What it has logged of requests.
  var log: [String] { process.standardOutput.lines }

  /// Starts one and waits until it answers.
  /// - Parameter http: What stands in the section `http`, for the first of ten ports that it may listen on.
  static func start(_ http: (_ port: Int) throws -> String) async throws -> Nginx {
    let folder = try TemporaryFolder()
    return try await withFreePorts(of: "nginx") { port in
      let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map {
        "  \($0)_temp_path \(folder.path($0));"
      }
      let text = """
        daemon off;
        master_process off;
        pid \(folder.path("pid"));
        error_log stderr warn;
        events {}
        http {
        \(temporary.joined(separator: "\n"))
        \(try http(port))
        }

        """
      try text.write(toFile: folder.path("nginx.conf"), atomically: true, encoding: .utf8)
      let process = try await ServiceProcess.start(
        "/usr/sbin/nginx", ["-e", "stderr", "-p", folder.path, "-c", folder.path("nginx.conf")])
      let nginx = Nginx(process: process, folder: folder, port: port)
      return (
        nginx, process,
        {
          let connection = try await WireConnection.connected(to: "127.0.0.1:\(port)")
          connection.close()
          return true
        }
      )
    }
  }
}
