import ArgumentParser
import Foundation
import IngestNode
import KeyReplica
import Logging
import Metrics
import PrometheusText
import RedisClient
import Sluice

@main
struct IngestNodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingest-node",
    abstract: "Takes pushes whose key is active, and hands them to the queue.",
    discussion: """
      A push is answered 202 once Redis has it. 401 and 403 are answered only with a proof; whatever can't be proven or \
      handed over is answered 503 with Retry-After.
      """,
    version: BuildDescription.current)

  @OptionGroup var redis: RedisArguments
  @OptionGroup var log: LogArguments

  @Option(
    help: ArgumentHelp(
      "Where pushes are taken; port 0 lets the system choose. (default: 127.0.0.1:8080; environment: SLUICE_LISTEN)",
      valueName: "host:port"))
  var listen: String?

  @Option(
    help: ArgumentHelp(
      "Where /livez, /readyz, /status and /metrics are; not for the open network. "
        + "(default: 127.0.0.1:8081; environment: SLUICE_ADMIN)", valueName: "host:port"))
  var admin: String?

  @Option(
    help: ArgumentHelp("This node's name in the fleet. (default: the host's name; environment: SLUICE_NAME)"))
  var name: String?

  @Option(
    help: ArgumentHelp(
      "Folder in which the mirror is kept, so that the next start admits known keys at once. "
        + "(default: none, each start is a cold one; environment: SLUICE_STATE_DIR)", valueName: "folder"))
  var stateDir: String?

  @Option(
    help: ArgumentHelp(
      "Event loops that take pushes. (default: one per processor; environment: SLUICE_THREADS)", valueName: "count"))
  var threads: String?

  @Option(
    help: ArgumentHelp(
      "The largest body taken, in bytes. (default: 16777216; environment: SLUICE_MAX_BODY)", valueName: "bytes"))
  var maxBody: String?

  @Option(
    help: ArgumentHelp(
      "The most connections at once. (default: 10000; environment: SLUICE_MAX_CONNECTIONS)", valueName: "count"))
  var maxConnections: String?

  @Option(
    help: ArgumentHelp(
      "How old the mirror may be to admit anybody: for so long a revoked key may go on while the store is away. "
        + "(default: 1h; environment: SLUICE_ADMIT_AGE)", valueName: "time"))
  var admitAge: String?

  @Option(
    help: ArgumentHelp(
      "How long a request may wait for the proof that its key isn't active. "
        + "(default: 2s; environment: SLUICE_BARRIER_WAIT)", valueName: "time"))
  var barrierWait: String?

  @Option(
    help: ArgumentHelp(
      "How long what is in flight may take to end after SIGTERM. (default: 10s; environment: SLUICE_STOP_DEADLINE)",
      valueName: "time"))
  var stopDeadline: String?

  func run() async throws {
    let settings = Settings()
    let listen = try settings.value("listen", given: listen, default: "127.0.0.1:8080", as: ListenAddress.self)
    let admin = try settings.value("admin", given: admin, default: "127.0.0.1:8081", as: ListenAddress.self)
    let processors = String(max(1, ProcessInfo.processInfo.activeProcessorCount))
    var configuration = IngestNode.Configuration(
      name: try settings.value("name", given: name, default: MemberName.ofThisHost, as: MemberName.self).text,
      build: BuildDescription.current, redis: try redis.endpoint(settings), namespace: try redis.namespace(settings),
      listenHost: listen.host, listenPort: listen.port, adminHost: admin.host, adminPort: admin.port,
      threads: try settings.value("threads", given: threads, default: processors, in: 1...256, as: Int.self),
      bodyLimit: try settings.value("max-body", given: maxBody, default: "16777216", in: 1...(1 << 30), as: Int.self),
      connectionLimit: try settings.value(
        "max-connections", given: maxConnections, default: "10000", in: 1...1_000_000, as: Int.self),
      stopDeadline: try settings.value(
        "stop-deadline", given: stopDeadline, default: "10s", in: .zero ... .seconds(600), as: Duration.self))
    configuration.replica.admitAge = try settings.value(
      "admit-age", given: admitAge, default: "1h", in: .seconds(1) ... .seconds(30 * 86_400), as: Duration.self)
    configuration.replica.barrierWait = try settings.value(
      "barrier-wait", given: barrierWait, default: "2s", in: .milliseconds(10) ... .seconds(30), as: Duration.self)

    configuration.stateFolder = try settings.optional("state-dir", given: stateDir, as: String.self)

    let logger = try log.start(settings, label: "ingest-node")
    var options = PrometheusRegistry.Options()
    options.help["sluice_push_answers_total"] = "Answers to pushes, by status and reason."
    let metrics = PrometheusRegistry(options)
    MetricsSystem.bootstrap(metrics)
    if !admin.isLoopback {
      logger.warning(
        "the operators' listener isn't on loopback: keep it away from the open network",
        metadata: ["address": "\(admin)"])
    }
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

extension ListenAddress {
  fileprivate var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}
