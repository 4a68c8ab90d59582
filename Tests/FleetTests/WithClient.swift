import KeyReplica
import KeyStore
import Logging
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// Runs the body with a Redis of its own and a connection to it.
func withClient(
  _ options: RedisServerOptions = RedisServerOptions(), _ body: (RedisServer, RedisClient) async throws -> Void
) async throws {
  try await withRedis(options) { server in
    try await withClient(to: server.endpoint) { try await body(server, $0) }
  }
}

func withClient(
  to endpoint: RedisEndpoint, _ options: RedisOptions = RedisOptions(), _ body: (RedisClient) async throws -> Void
) async throws {
  let client = RedisClient(
    endpoint: endpoint, options: options, on: MultiThreadedEventLoopGroup.singleton.any(), logger: quiet)
  defer { client.shutDown() }
  try await body(client)
}

/// Writes keys into the store and seals it. The outcome is of before the seal.
@discardableResult
func publish(_ secrets: [String], to client: RedisClient, seal: Bool = true) async throws -> EditOutcome {
  let connection = try await client.connection(within: .seconds(5)).get()
  let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
  let outcome = try await writer.apply(
    secrets.map { KeyEdit(key: KeyID(secret: $0.utf8), kind: .put(account: "acme", .active)) })
  if seal { _ = try await writer.seal() }
  return outcome
}
