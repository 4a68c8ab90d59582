import ArgumentParser
import Foundation
import IngestNode
import KeyReplica
import Logging
import Metrics
import PrometheusText
import RedisClient
import CommandSupport

@main
struct IngestNodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingest-node",
    abstract: "Accepts pushes that have an active API key and puts them on the Redis queue.",
    discussion: """
      A push is answered 202 once Redis has stored it. While Redis is unreachable, the spool stores it. A push is \
      answered 401 or 403 only with a proof that its key isn't active. A push that can be neither stored nor refused is \
      answered 503 with Retry-After, or with its dialect's status for that case.
      """,
    version: BuildDescription.current)

  @OptionGroup var redis: RedisArguments
  @OptionGroup var queue: QueueArguments
  @OptionGroup var log: LogArguments

  private static let listen = Setting<ListenAddress>(
    "listen", "Address of the push listener; with port 0 the system chooses a port.", shown: "host:port",
    default: "127.0.0.1:8080")
  @Option(help: Self.listen.help) var listen: String?

  private static let admin = Setting<ListenAddress>(
    "admin", "Address of the admin listener: /livez, /readyz, /status and /metrics. Don't expose it to the internet.",
    shown: "host:port",
    default: "127.0.0.1:8081")
  @Option(help: Self.admin.help) var admin: String?

  private static let name = Setting<MemberName>(
    "name", "This node's name in the fleet.", shown: "name", default: MemberName.ofThisHost, as: "the host's name")
  @Option(help: Self.name.help) var name: String?

  private static let stateDir = Setting<String>(
    "state-dir",
    "Directory for the state file, a copy of the mirror with which the next start admits known keys at once.",
    shown: "folder", as: "none: after a restart keys are answered 503 until the mirror is loaded")
  @Option(help: Self.stateDir.help) var stateDir: String?

  private static let store = Setting<String>(
    "store",
    "Name of the key store to mirror (key-publisher create --name). If the address leads to another store, known keys "
      + "are still admitted, and all other keys are answered 503.",
    shown: "name", as: "the store in the state file, or else the first one that is found")
  @Option(help: Self.store.help) var store: String?

  private static let threads = Setting<Int>(
    "threads", "Number of event loops for pushes.", shown: "count",
    default: String(max(1, ProcessInfo.processInfo.activeProcessorCount - 1)), as: "the number of processors minus one",
    in: 1...256)
  @Option(help: Self.threads.help) var threads: String?

  @OptionGroup(title: "TLS and load balancers") var edge: EdgeArguments
  @OptionGroup(title: "Limits") var limits: LimitArguments
  @OptionGroup(title: "Limits of the queue") var queueLimits: QueueLimitArguments
  @OptionGroup(title: "The spool") var spool: SpoolArguments
  @OptionGroup(title: "Refusals") var refusals: RefusalArguments

  private static let admitAge = Setting<Duration>(
    "admit-age",
    "Maximum mirror age for admission. Bounds how long a revoked key works while the key store is unreachable.",
    shown: "time", default: "1h", in: .seconds(1) ... .seconds(30 * 86_400))
  @Option(help: Self.admitAge.help) var admitAge: String?

  private static let barrierWait = Setting<Duration>(
    "barrier-wait", "Timeout for proving that a key isn't active. Then the request is answered 503.", shown: "time",
    default: "2s", in: .milliseconds(10) ... .seconds(30))
  @Option(help: Self.barrierWait.help) var barrierWait: String?

  func run() async throws {
    let settings = Settings()
    let listen = try settings.value(Self.listen, given: listen)
    let admin = try settings.value(Self.admin, given: admin)
    let endpoint = try redis.endpoint(settings)
    let namespace = try redis.namespace(settings)
    var configuration = IngestNode.Configuration(
      name: try settings.value(Self.name, given: name).text, build: BuildDescription.current, redis: endpoint,
      queue: try queue.shards(settings, redis: endpoint, namespace: namespace), namespace: namespace,
      listenHost: listen.host,
      listenPort: listen.port, adminHost: admin.host, adminPort: admin.port,
      threads: try settings.value(Self.threads, given: threads))
    configuration.front = try limits.front(settings)
    try spool.apply(to: &configuration, settings)
    try edge.apply(to: &configuration, settings)
    try queueLimits.apply(to: &configuration, settings)
    configuration.replica.admitAge = try settings.value(Self.admitAge, given: admitAge)
    configuration.replica.barrierWait = try settings.value(Self.barrierWait, given: barrierWait)
    try refusals.apply(to: &configuration, settings)
    configuration.stateFolder = try settings.optional(Self.stateDir, given: stateDir)
    configuration.store = try settings.optional(Self.store, given: store)
    if let objection = configuration.store.flatMap(StoreIdentity.objection(toName:)) {
      throw ValidationError("--store: \(objection)")
    }

    let logger = try log.start(settings, label: "ingest-node")
    var options = PrometheusRegistry.Options()
    options.help["sluice_push_answers_total"] = "Answers to pushes, by status and reason."
    let metrics = PrometheusRegistry(options)
    MetricsSystem.bootstrap(metrics)
    if !admin.isLoopback {
      logger.warning(
        "admin listener isn't on loopback: don't expose it to the internet",
        metadata: ["address": "\(admin)"])
    }
    DescriptorLimit.raise(logger: logger)
    logger.notice(
      "starting",
      metadata: ["name": "\(configuration.name)", "build": "\(configuration.build)", "redis": "\(configuration.redis)"])
    do {
      try await IngestNode(configuration, metrics: metrics, logger: logger).run()
    } catch {
      logger.critical("ended by an error", metadata: ["error": "\(error)"])
      throw ExitCode(1)
    }
  }
}
