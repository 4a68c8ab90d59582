import ArgumentParser
import CommandSupport
import KeyAPI
import KeyStore
import Listening
import Logging
import RedisClient

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serves an HTTP API for applications that publish keys themselves.",
    discussion: """
      It has the verbs put, suspend, activate, revoke and get for single keys, many at once, and for accounts, with the same \
      meaning as on the command line. An answer comes when the change is in the store and all declared replicas have it. \
      Each request needs a bearer token: a line of the file that --tokens names. The file is read again when it changes.

      GET /v1/openapi.json describes the API; it and /v1/health need no token.
      """)

  @OptionGroup var redis: RedisArguments
  @OptionGroup var log: LogArguments
  @OptionGroup var tls: TLSArguments

  private static let listen = Setting<ListenAddress>(
    "listen", "Address of the API; with port 0 the system chooses a port.", shown: "host:port",
    default: "127.0.0.1:8083")
  @Option(help: Self.listen.help) var listen: String?

  private static let tokens = Setting<String>(
    "tokens",
    "File with the bearer tokens, one a line of at least 20 characters. Lines that begin with # are ignored.",
    shown: "file", isRequired: true)
  @Option(help: Self.tokens.help) var tokens: String?

  private static let maxConnections = Setting<Int>(
    "max-connections", "Maximum connections to the API. At the maximum a new connection closes the oldest one.",
    shown: "count",
    default: "256", in: 1...10_000)
  @Option(help: Self.maxConnections.help) var maxConnections: String?

  private static let maxRequests = Setting<Int>(
    "max-requests", "Maximum requests in progress. Others are answered 503.", shown: "count", default: "128",
    in: 1...10_000)
  @Option(help: Self.maxRequests.help) var maxRequests: String?

  private static let confirmWait = Setting<Duration>(
    "confirm-wait", "How long to wait for the declared replicas to confirm a change. Then the answer is 503.",
    shown: "time", default: "5s", in: .milliseconds(100) ... .seconds(60))
  @Option(help: Self.confirmWait.help) var confirmWait: String?

  func run() async throws {
    let settings = Settings()
    let listen = try settings.value(Self.listen, given: listen)
    var configuration = KeyAPI.Configuration(
      redis: try redis.endpoint(settings), layout: StoreLayout(namespace: try redis.namespace(settings)),
      host: listen.host, port: listen.port, tokens: try settings.value(Self.tokens, given: tokens))
    configuration.tls = try tls.files(settings).map {
      TLSFiles(certificateChain: $0.certificate, privateKey: $0.key, clientAuthorities: $0.authorities)
    }
    configuration.connections = try settings.value(Self.maxConnections, given: maxConnections)
    configuration.requests = try settings.value(Self.maxRequests, given: maxRequests)
    configuration.confirmWait = try settings.value(Self.confirmWait, given: confirmWait)

    let logger = try log.start(settings, label: "key-publisher")
    if !listen.isLoopback, configuration.tls == nil {
      logger.warning(
        "the API isn't on loopback and has no TLS: bearer tokens and keys cross the network in the clear",
        metadata: ["address": "\(listen)"])
    }
    DescriptorLimit.raise(logger: logger)
    logger.notice("starting", metadata: ["build": "\(BuildDescription.current)", "redis": "\(configuration.redis)"])
    do {
      // One descriptor for each connection, and some for Redis, event loops and files.
      try DescriptorLimit.require(configuration.connections + 96)
      try await KeyAPI(configuration, logger: logger).run()
    } catch {
      logger.critical("ended by an error", metadata: ["error": "\(error)"])
      throw ExitStatus.failed.code
    }
  }
}
