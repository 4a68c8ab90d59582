// Tests the fixture itself: the assumptions of other tests about it must hold.

import Foundation
import NIOCore
import NIOPosix
import Hiredis
import RedisClient
import RedisFixture
import Testing

@Suite struct RedisServerTests {
  private func ping(_ endpoint: RedisEndpoint) async throws {
    let connection = try await RedisConnection.connected(
      to: endpoint, on: MultiThreadedEventLoopGroup.singleton.next())
    #expect(try await connection.execute(RedisCommand("PING")) == .status("PONG"))
    connection.close()
    try await connection.closed.get()
  }

  @Test func `a server answers over all its transports, and is gone with its folder afterwards`() async throws {
    let options = RedisServerOptions {
      $0.tls = true
      $0.password = "a \"password\"\n#"
      $0.users = ["alice on >secret ~* &* +@all"]
    }
    let (pid, folder) = try await withRedis(options) { server in
      try await ping(server.endpoint)
      try await ping(server.tcpEndpoint)
      try await ping(server.tlsEndpoint)
      var alice = server.endpoint
      alice.user = "alice"
      alice.password = Secret("secret")
      try await ping(alice)
      return (try #require(server.pid), server.folder.path)
    }
    #expect(kill(pid, 0) != 0)
    #expect(!FileManager.default.fileExists(atPath: folder))
  }

  @Test func `a killed server comes back on its port with what was on disk`() async throws {
    try await withRedis(RedisServerOptions { $0.appendOnly = .always }) { server in
      let before = server.tcpEndpoint
      let loop = MultiThreadedEventLoopGroup.singleton.next()
      let connection = try await RedisConnection.connected(to: before, on: loop)
      try await connection.execute(RedisCommand("SET", "key", "value")).ok()
      try await server.kill9()
      try await connection.closed.get()
      await #expect(throws: RedisError.self) { try await ping(before) }
      try await server.restart()
      #expect(server.tcpEndpoint == before)
      let again = try await RedisConnection.connected(to: before, on: loop)
      #expect(try await again.execute(RedisCommand("GET", "key")).string() == "value")
      again.close()
    }
  }

  @Test func `a held server answers when it goes on, and can be ended while held`() async throws {
    try await withRedis { server in
      let connection = try await RedisConnection.connected(
        to: server.endpoint, on: MultiThreadedEventLoopGroup.singleton.next())
      try await server.pause()
      let answer = connection.send(RedisCommand("PING"))
      try server.resume()
      #expect(try await answer.get() == .status("PONG"))
      try await server.pause()
      try await server.stop()
      try await connection.closed.get()
    }
  }

  @Test func `a server that can't start says why`() async throws {
    await #expect {
      try await RedisServer.start(RedisServerOptions { $0.arguments = ["--no-such-option", "1"] })
    } throws: { error in
      "\(error)".contains("no-such-option")
    }
  }

  @Test func `a condition that never holds fails under its name`() async throws {
    await #expect {
      try await eventually(within: .milliseconds(20), "pigs fly") { false }
    } throws: { error in
      "\(error)".contains("pigs fly")
    }
  }
}
