// The publisher's HTTP API, for applications that publish keys themselves. This file creates the API's parts and runs
// them. The API shares the code of the verbs. Its connections to Redis stay open, so a change costs a round trip and
// not a process.

internal import Foundation
internal import Hummingbird
internal import HummingbirdCore
package import KeyStore
package import Listening
package import Logging
internal import NIOCore
internal import NIOPosix
package import RedisClient
internal import ServiceLifecycle
internal import UnixSignals

package struct KeyAPI: Sendable {
  package struct Configuration: Sendable {
    package var redis: RedisEndpoint
    package var layout: StoreLayout
    package var host: String
    /// With port 0 the system chooses a port.
    package var port: Int
    /// The file with the bearer tokens.
    package var tokens: String
    /// The listener's certificate; nil without TLS.
    package var tls: TLSFiles?
    /// Maximum connections.
    package var connections = 256
    /// Maximum requests in progress.
    package var requests = 128
    /// Maximum wait for the declared replicas' confirmation of a change.
    package var confirmWait = Duration.seconds(5)

    package init(redis: RedisEndpoint, layout: StoreLayout, host: String, port: Int, tokens: String) {
      self.redis = redis
      self.layout = layout
      self.host = host
      self.port = port
      self.tokens = tokens
    }
  }

  private let configuration: Configuration
  private let logger: Logger

  package init(_ configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
  }

  /// Bytes of one read from a connection: a few pipelined requests, or a part of a body.
  private static let read = 4 << 10

  /// Runs until a signal (SIGTERM, SIGINT) ends the process, and the requests in progress are answered.
  /// - Throws: The error that kept the API from starting, or ended it.
  package func run() async throws {
    let tokens = try BearerTokens(file: configuration.tokens)
    let identity = try configuration.tls.map { try TLSIdentity($0) }
    if tokens.isReadableByOthers {
      logger.warning(
        "others than its owner can read the file of bearer tokens: chmod 600", metadata: ["file": "\(tokens.file)"])
    }
    if tokens.count == 0 {
      logger.warning("there are no bearer tokens: every request is answered 401", metadata: ["file": "\(tokens.file)"])
    }
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let client = RedisClient(
      endpoint: configuration.redis, options: RedisOptions(name: "key-publisher-serve"),
      routedBy: configuration.layout.slot, on: group.next(), logger: logger)
    let surveys = client.another()
    let store = RedisChangeStore(
      client: client, surveys: surveys, layout: configuration.layout, confirmWait: configuration.confirmWait)
    let responder = APIResponder(
      store: store, tokens: tokens, limit: configuration.requests, logger: logger)
    var listener = HTTPListener.Configuration(
      name: "publishing", purpose: "applications that publish keys", option: "--listen", host: configuration.host,
      port: configuration.port, part: ListenerPart(connections: configuration.connections, courtesies: 0, batch: 16),
      readSize: Self.read,
      // Low, because some applications open a connection for each request, and all their requests come from one host.
      connectionCost: .microseconds(50))
    // Longer than all that a request may wait for: 15 s for an account's keys, two waits for replicas, and a few steps
    // of Redis of up to 5 s each. So a request is answered 503 if Redis is slow, and isn't cut off.
    listener.deadlines = HTTPDeadlines(request: .seconds(40) + TimeAmount(configuration.confirmWait * 2))
    listener.identity = identity
    var services: [any Service] = [TokenKeeper(tokens: tokens, logger: logger)]
    if let identity { services.append(CertificateKeeper(identity, logger: logger)) }
    services.append(
      HTTPListener(listener, group: group, logger: logger, listening: { _ in }) { request, writer, channel in
        let response = try await responder.respond(to: request, from: channel.remoteAddress?.ipAddress)
        try await writer.write(response: response.head, body: response.body)
      })
    let running = ServiceGroup(
      configuration: .init(
        services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await running.run()
    for client in [client, surveys] { try await client.shutDown().get() }
    try await group.shutdownGracefully()
    logger.notice("ended")
  }
}
