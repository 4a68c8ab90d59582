// Connections without traffic for a while: closed by the server, or dropped by a device in between.

import Hiredis
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

@Suite struct QuietConnectionTests {
  @Test func `a server that closes what is idle is no outage`() async throws {
    try await withRedis { server in
      let log = RecordedLog()
      let client = RedisClient(
        endpoint: server.endpoint, backoff: Backoff(first: .nanoseconds(1), most: .nanoseconds(1)),
        on: MultiThreadedEventLoopGroup.singleton.next(), logger: log.logger)
      defer { client.shutDown() }
      var met: Set<ObjectIdentifier> = []
      // Each lives for longer than the longest wait between tries, so that it isn't one of a server that only drops connections.
      for _ in 0..<4 {
        let connection = try await client.connection(within: .seconds(5)).get()
        #expect(met.insert(ObjectIdentifier(connection)).inserted)
        try await server.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try await connection.closed.get()
      }
      _ = try await client.connection(within: .seconds(5)).get()
      #expect(log.lines.isEmpty, "\(log.lines)")
      // And one that is away is said.
      try await server.kill9()
      try await eventually("it is said") { log.lines.count == 1 }
      try await server.restart()
      try await eventually("that it is back is said too") { log.lines.count == 2 }
    }
  }

  @Test func `a quiet connection that was forgotten on the way is found out before anything is put on it`()
    async throws
  {
    // Answers the greeting, and from then on nothing: as a router that has forgotten the connection.
    let greeting = "+OK\r\n$21\r\nredis_version:8.0.0\r\n\r\n$13\r\nrole:master\r\n\r\n+PONG\r\n"
    let server = try await HostileServer.start(greeting: greeting) { _, _ in }
    let client = RedisClient(
      endpoint: server.endpoint, on: MultiThreadedEventLoopGroup.singleton.next(),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    defer { client.shutDown() }
    let first = try await client.connection(within: .seconds(5)).get()
    try await first.closed.get()
    let second = try await client.connection(within: .seconds(5)).get()
    #expect(second !== first)
    withExtendedLifetime(server) {}
  }

  @Test func `a quiet connection that answers is kept`() async throws {
    try await withRedis { server in
      let client = RedisClient(
        endpoint: server.endpoint, on: MultiThreadedEventLoopGroup.singleton.next(),
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      defer { client.shutDown() }
      let connection = try await client.connection(within: .seconds(5)).get()
      try await eventually(within: .seconds(30), "it was asked twice") {
        let stats = try await server.run("INFO", "commandstats").string()
        guard let calls = stats.firstMatch(of: /cmdstat_ping:calls=(\d+)/).flatMap({ Int($0.1) }) else { return false }
        return calls >= 3
      }
      let kept = try await client.connection(within: .seconds(1)).get()
      #expect(kept === connection)
    }
  }
}
