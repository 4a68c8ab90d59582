// All transports must behave alike, so most tests run over each of them.

import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

enum Transport: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case tcp, tls, unix

  var testDescription: String { rawValue }

  func endpoint(of server: RedisServer) -> RedisEndpoint {
    switch self {
    case .tcp: server.tcpEndpoint
    case .tls: server.tlsEndpoint
    case .unix: server.endpoint
    }
  }
}

/// Runs the body with a Redis of its own and one connection to it over this transport.
func withConnection(
  over transport: Transport, _ options: RedisServerOptions = RedisServerOptions(),
  _ body: (RedisServer, RedisConnection) async throws -> Void
) async throws {
  var options = options
  options.tls = transport == .tls
  try await withRedis(options) { server in
    let connection = try await connected(to: transport.endpoint(of: server))
    try await body(server, connection)
    connection.close()
    try await connection.closed.get()
  }
}

func connected(
  to endpoint: RedisEndpoint, _ change: (inout RedisOptions) -> Void = { _ in }
) async throws -> RedisConnection {
  var options = RedisOptions()
  change(&options)
  return try await RedisConnection.connected(
    to: endpoint, options: options, on: MultiThreadedEventLoopGroup.singleton.next())
}

extension RedisConnection {
  /// Sends from the event loop. When this returns, everything is on its way, with its time counted from then: sent from
  /// elsewhere, a command with a short deadline could be late before a busy loop comes to it.
  func sendFromLoop(_ commands: (RedisCommand, within: TimeAmount)...) async throws -> [EventLoopFuture<RedisReply>] {
    try await eventLoop.submit { commands.map { self.send($0.0, within: $0.within) } }.get()
  }
}

extension EventLoopFuture {
  /// The error that it fails with; a failure of the test where it doesn't, or with another than RedisError.
  func redisError(sourceLocation: SourceLocation = #_sourceLocation) async throws -> RedisError
  where Value: Sendable {
    try await #require(throws: RedisError.self, sourceLocation: sourceLocation) { try await self.get() }
  }
}
