// One that takes pushes, with a Redis of its own, so that what one left there is nobody else's.

import Foundation
import Hiredis
import Logging
import NIOPosix
import RedisClient
import RedisFixture

/// What all contenders are set up for alike.
struct PushSetting {
  /// How many keys are known.
  var keys = 10_000
  /// The most connections that come at once.
  var connections = 256
  /// The largest body that comes.
  var bodyBytes = 1_024
  /// What Redis does before it answers.
  var appendOnly = RedisServerOptions.AppendOnly.off
  /// Whether Redis is spoken to by its Unix socket, as one can where it is on the same machine; else by TCP.
  var isLocal = false

  var redis: RedisServerOptions {
    RedisServerOptions {
      $0.appendOnly = appendOnly
      // A rewrite in the middle of a run would hit one contender and not the other.
      $0.arguments = [
        "--auto-aof-rewrite-percentage", "0",
        // nginx's processes are another user's.
        "--unixsocketperm", "777",
      ]
    }
  }
}

/// A running server that takes pushes.
struct PushContender {
  enum Kind: CaseIterable {
    case sluice, nginxLua, webdis, bareNginx

    var name: String {
      switch self {
      case .sluice: "Sluice"
      case .nginxLua: "nginx with Lua"
      case .webdis: "Webdis, no key"
      case .bareNginx: "nginx answering 202"
      }
    }

    /// Whether a client may get the answer to one that went away before it, with whose descriptor it is connected now. Webdis does that to
    /// those that come after a run that was cut off; wrk counts them.
    var answersStrangers: Bool { self == .webdis }
  }

  let kind: Kind
  let process: ServiceProcess
  let port: Int
  /// Where a node tells its figures.
  var adminPort: Int?
  let redis: QueueRedis
  let folder: TemporaryFolder
  let path: String
  let method: String
  /// A key that is accepted.
  let key: String
  /// The lists that pushes go to; none where it pushes nothing.
  let lists: [String]

  var name: String { kind.name }
  var pushes: Bool { !lists.isEmpty }
  var url: String { "http://127.0.0.1:\(port)\(path)" }

  /// How many payloads are in Redis.
  func pushed() async throws -> Int { try await redis.count(lists.map { RedisCommand("LLEN", $0) }) }

  func empty() async throws { _ = try await takeAway() }

  /// Takes all payloads out of Redis.
  /// - Returns: How many there were.
  func takeAway() async throws -> Int {
    guard pushes else { return 0 }
    let script = """
      local count = 0
      for _, list in ipairs(KEYS) do count = count + redis.call("LLEN", list) end
      redis.call("UNLINK", unpack(KEYS))
      return count
      """
    let words = ["EVAL", script, "\(lists.count)"] + lists
    return try await redis.count([RedisCommand(words[0], arguments: Array(words.dropFirst()))])
  }

  func redisProcess() throws -> pid_t {
    guard let pid = redis.server.pid else { throw CannotMeasure("the Redis of \(name) has ended") }
    return pid
  }

  /// Waits until a push is accepted.
  func untilAccepting() async throws {
    try await eventually(within: .seconds(60), "\(name) accepts a push\n\(process.outputs)") {
      try await Peers.run(
        "/usr/bin/curl",
        ["--silent", "--fail", "--request", method, "--header", "Authorization: Bearer \(key)", "--data", "x", url])
      return true
    }
  }

  func stop() async throws {
    process.terminate()
    _ = try await process.waitForExit(within: .seconds(30))
    redis.client.shutDown()
    if redis.server.pid != nil { try await redis.server.kill9() }
    redis.server.folder.remove()
    folder.remove()
  }
}

extension QueueRedis {
  /// A server with a client of it.
  init(of server: RedisServer) {
    self.init(
      server: server,
      client: RedisClient(
        endpoint: server.tcpEndpoint, on: MultiThreadedEventLoopGroup.singleton.any(), logger: .silent))
  }
}
