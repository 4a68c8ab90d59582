// A real HAProxy for one test, controlled and observed as an operator does it: with its socket and its log.

import Foundation
import RedisFixture

/// A running HAProxy. Killed with its object, and with the test process.
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

  /// What it has logged.
  var log: [String] { process.standardOutput.lines }

  /// Its log lines of requests, which begin with the client's address.
  var requestsLogged: [String] { log.filter { $0.hasPrefix("127.0.0.") } }

  /// Starts one and waits until it answers on its socket.
  /// - Parameter configuration: All but what belongs to the test, for the first of ten ports that it may listen on.
  static func start(_ configuration: (_ port: Int) throws -> String) async throws -> HAProxy {
    let folder = try TemporaryFolder()
    return try await withFreePorts(of: "HAProxy") { port in
      let text = """
        global
          # Two of them would share a port otherwise.
          noreuseport
          nbthread 1
          log stdout format raw local0
          stats socket unix@\(folder.path("cli.sock")) level admin
        \(try configuration(port))

        """
      try text.write(toFile: folder.path("haproxy.cfg"), atomically: true, encoding: .utf8)
      let process = try await ServiceProcess.start("/usr/sbin/haproxy", ["-db", "-f", folder.path("haproxy.cfg")])
      let proxy = HAProxy(process: process, folder: folder, port: port)
      return (proxy, process, { try await proxy.ask("show info").contains("Version:") })
    }
  }

  /// One command on its socket, and the answer to it.
  func ask(_ command: String) async throws -> String {
    let connection = try await WireConnection.connected(to: folder.path("cli.sock"))
    connection.send(command + "\n")
    return try await connection.everything()
  }

  /// Its view of a server, from `show stat`.
  struct Opinion: Sendable, Equatable {
    /// `UP`, `DOWN`, `DRAIN`, …, with how many checks are still missing for another.
    var status: String
    var weight: Int
    /// The last answer of the agent, and the resulting weight and state.
    var agent: String
    /// The last health check.
    var check: String
    /// How many requests it has given the server.
    var requests: Int
  }

  func opinion(of server: String, in backend: String = "nodes") async throws -> Opinion {
    let values = try await statistics(of: server, in: backend)
    func value(_ name: String) throws -> String {
      guard let value = values[name] else { throw NeverHappened(description: "HAProxy's statistics have no \(name)") }
      return value
    }
    return Opinion(
      status: try value("status"), weight: Int(try value("weight")) ?? 0, agent: try value("agent_status"),
      check: try value("check_status"), requests: Int(try value("stot")) ?? 0)
  }

  /// One row of `show stat`, by the names of its columns.
  func statistics(of server: String, in backend: String) async throws -> [String: String] {
    let table = try await ask("show stat").split(separator: "\n").map {
      $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    guard let names = table.first, let row = table.first(where: { $0.count > 1 && $0[0] == backend && $0[1] == server })
    else { throw NeverHappened(description: "HAProxy knows of no \(server) in \(backend)") }
    return Dictionary(zip(names, row), uniquingKeysWith: { first, _ in first })
  }
}

/// Starts a server that is told its ports and tries by itself whether they are free, until one starts.
/// - Parameter start: Starts one for the first of ten ports; also says whether it is up.
func withFreePorts<Server>(
  of name: String,
  _ start: (_ port: Int) async throws -> (server: Server, process: ServiceProcess, isUp: () async throws -> Bool)
) async throws -> Server {
  for _ in 1...20 {
    // Below the range that Linux gives to outgoing connections.
    let (server, process, isUp) = try await start(Int.random(in: 10_000..<31_900))
    try await eventually("\(name) answers, or has ended") {
      if process.status != nil { return true }
      return try await isUp()
    }
    guard let status = process.status else { return server }
    try await eventually("its output is read to the end") { process.standardError.isComplete }
    guard process.outputs.contains("Address already in use") else {
      throw NeverHappened(description: "\(name) \(status)\n\(process.outputs)")
    }
  }
  throw NeverHappened(description: "twenty times a port of 127.0.0.1 was taken")
}
