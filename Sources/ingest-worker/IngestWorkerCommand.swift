// ingest-worker: claims payloads from the queue and stores them. The command line and the signals are here; the worker
// itself is in the module IngestWorker.

import ArgumentParser
import Fleet
import FreedMemory
import Foundation
import IngestQueue
import IngestWorker
import KeyReplica
import KeyStore
import Logging
import NIOPosix
import RedisClient
import ServiceLifecycle
import CommandSupport
import UnixSignals

@main
struct IngestWorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingest-worker",
    abstract: "Takes payloads from the queue in Redis and stores them.",
    discussion: """
      Every option can be given as an environment variable too; the command line wins. A length of time is a number of \
      seconds, or has a unit: 250ms, 5s, 2m, 1h.

      Sinks:
        sqlite:PATH
          a file, in a folder that exists
        postgres://USER:PASSWORD@HOST:PORT/DATABASE?table=payloads
          a table, created if missing; other parameters are libpq's, such as sslmode
        http://HOST/PATH, https://HOST/PATH
          one POST per payload
          ?batch=ndjson    one POST per batch, with one JSON line per payload
          ?concurrency=8   parallel requests per batch
          ?timeout=10      seconds per request
        files:FOLDER?size=64&age=3600
          JSON lines; a file is finished at this size (MiB) or age (seconds), and then
          compressed with zstd
        none:
          nowhere: payloads are counted as stored and discarded, for benchmarks

      SIGTERM or SIGINT: claims nothing more, stores what the sink already has, requeues the rest, ends with status 0. Other \
      statuses: 64 usage error, 1 anything else; standard error has the reason.
      """,
    version: BuildDescription.current)

  @OptionGroup var redis: RedisArguments
  @OptionGroup var queue: QueueArguments
  @OptionGroup var log: LogArguments

  private static let name = Setting<MemberName>(
    "name", "The worker's name: \(MemberName.expectation). Each worker needs its own name.",
    shown: "name",
    default: MemberName.ofThisHost, as: "this machine's host name")
  @Option(help: Self.name.help) var name: String?

  private static let sink = Setting<SinkSetting>(
    "sink",
    "Where payloads are stored: sqlite:PATH, postgres://…, http://…, https://…, files:FOLDER or none:, see above.",
    shown: "sink", isRequired: true)
  @Option(help: Self.sink.help) var sink: String?

  private static let whenRevoked = Setting<WhenRevoked>(
    "when-revoked",
    "What to do with payloads whose key was revoked after they were accepted: store them, or discard them if the key store proves it.",
    shown: "store|discard", default: "store")
  @Option(help: Self.whenRevoked.help) var whenRevoked: String?

  private static let batch = Setting<Int>(
    "batch", "Maximum payloads claimed and stored at once, 1 to 1000.", shown: "number", default: "500",
    in: 1...1_000)
  @Option(help: Self.batch.help) var batch: String?

  private static let batchBytes = Setting<Int>(
    "batch-bytes", "Maximum bytes claimed at once, 1024 to 67108864. A larger payload is claimed alone.",
    shown: "bytes", default: "8388608", in: 1_024...67_108_864)
  @Option(help: Self.batchBytes.help) var batchBytes: String?

  private static let lanes = Setting<Int>(
    "lanes",
    "Batches that are processed in parallel, 1 to \(WorkerOptions.mostLanes); each shard of the queue has at least one.",
    shown: "number", default: "2",
    in: 1...WorkerOptions.mostLanes)
  @Option(help: Self.lanes.help) var lanes: String?

  private static let lease = Setting<Duration>(
    "lease", "Lease of a claimed batch, 1s to 1h: if this worker dies, others take over its batches after this time.",
    shown: "time",
    default: "30s", in: .seconds(1) ... .seconds(3_600))
  @Option(help: Self.lease.help) var lease: String?

  private static let attempts = Setting<Int>(
    "attempts", "Failed attempts after which a payload becomes a dead letter, 1 to 100.", shown: "number", default: "5",
    in: 1...100)
  @Option(help: Self.attempts.help) var attempts: String?

  private static let deaths = Setting<Int>(
    "deaths", "Worker deaths per payload, 1 to 100: after that many the payload becomes a dead letter.",
    shown: "number",
    default: "3", in: 1...100)
  @Option(help: Self.deaths.help) var deaths: String?

  private static let decodedBytes = Setting<Int>(
    "decoded-bytes", "Maximum decompressed size of a payload, 1024 to 1073741824 bytes.",
    shown: "bytes", default: "67108864", in: 1_024...1_073_741_824)
  @Option(help: Self.decodedBytes.help) var decodedBytes: String?

  private static let decodedTotal = Setting<Int>(
    "decoded-total",
    "Maximum bytes of decompressed payloads in memory, in all lanes together, 1048576 to 68719476736. Sinks may hold copies for a while: allow for three times this.",
    shown: "bytes", default: "201326592", in: 1_048_576...68_719_476_736)
  @Option(help: Self.decodedTotal.help) var decodedTotal: String?

  private static let maxRatio = Setting<Int>(
    "max-ratio",
    "Maximum compression ratio of a payload, 1 to 1000000. Up to 1 MiB is always allowed.",
    shown: "number", default: "200", in: 1...1_000_000)
  @Option(help: Self.maxRatio.help) var maxRatio: String?

  private static let drain = Setting<Duration>(
    "drain",
    "Time after SIGTERM in which the sink may finish, 0s to 1h. Then what isn't stored goes back to the queue.",
    shown: "time",
    default: "10s", in: .zero ... .seconds(3_600))
  @Option(help: Self.drain.help) var drain: String?

  func run() async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let namespace = try redis.namespace(settings)
    let address = try sinkAddress(settings)
    let options = try workerOptions(settings)
    let logger = try log.start(settings, label: "ingest-worker")
    DescriptorLimit.raise(logger: logger)
    // For event loops, connections to Redis, the sink's files or parallel requests, and a reserve.
    try DescriptorLimit.require(160)

    let shards = try queue.shards(settings, redis: endpoint, namespace: namespace)
    let replica = try replica(settings, endpoint, namespace, name: "\(options.name)", logger)
    let sink = try address.open(logger: logger)
    replica?.start()
    defer { replica?.stop() }
    let worker = Worker(
      shards: shards, options: options, sink: sink, revoked: replica.map { RevokedKeys($0) }, logger: logger)

    // A separate connection: a report must not wait behind a claim of many megabytes, and a late report must not cause
    // a claim to fail.
    let fleet = FleetLayout(namespace: namespace)
    let reporting = RedisClient(
      endpoint: endpoint, options: RedisOptions(name: "ingest-worker-report"), routedBy: fleet.slot,
      on: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
    defer { reporting.shutDown() }
    let fatal = FatalError()
    let heartbeat = Heartbeat(
      FleetDirectory(client: reporting, layout: fleet), logger: logger
    ) {
      var report = worker.report
      report.fatalError = fatal.text
      return report
    }

    var group = ServiceGroupConfiguration(
      services: fatal.noting([heartbeat, FreedMemory(logger: logger), worker]),
      gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    // For a sink that doesn't react to cancellation: the process ends, and its claims return to the queue when their
    // leases end.
    group.maximumGracefulShutdownDuration = options.drainDeadline + .seconds(20)
    group.maximumCancellationDuration = .seconds(10)
    try await ServiceGroup(configuration: group).run()
  }

  /// A mirror of the key store, if payloads of revoked keys are discarded.
  private func replica(
    _ settings: Settings, _ endpoint: RedisEndpoint, _ namespace: Namespace, name: String, _ logger: Logger
  ) throws(ValidationError) -> ReplicaDriver? {
    guard try settings.value(Self.whenRevoked, given: whenRevoked) == .discard else { return nil }
    var limits = Replica.Limits()
    // A worker only uses proofs that keys are revoked, never verdicts on unknown keys. So it needs no `RefusalValve`.
    limits.stormShare = 100
    return ReplicaDriver(
      endpoint: endpoint, layout: StoreLayout(namespace: namespace), limits: limits, name: "\(name)-mirror",
      on: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
  }

  private func sinkAddress(_ settings: Settings) throws(ValidationError) -> SinkAddress {
    let address = try settings.value(Self.sink, given: sink).address
    switch address {
    case .sqlite(let path):
      let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
        throw ValidationError("--sink: expected a file in a folder that exists, but there is no folder \(folder)")
      }
      if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
        throw ValidationError("--sink: expected a file, but \(path) is a folder")
      }
    case .postgres, .http, .files, .none: break
    }
    return address
  }

  private func workerOptions(_ settings: Settings) throws(ValidationError) -> WorkerOptions {
    let member = try settings.value(Self.name, given: name)
    guard let name = WorkerName(member.text) else {
      throw ValidationError("--name: expected \(MemberName.expectation), got \"\(member)\"")
    }
    var limits = ConsumerLimits()
    limits.envelopes = try settings.value(Self.batch, given: batch)
    limits.bytes = try settings.value(Self.batchBytes, given: batchBytes)
    limits.lease = try settings.value(Self.lease, given: lease)
    limits.attempts = try settings.value(Self.attempts, given: attempts)
    limits.deaths = try settings.value(Self.deaths, given: deaths)
    return WorkerOptions(
      name: name, build: BuildDescription.current, lanes: try settings.value(Self.lanes, given: lanes),
      consumer: limits,
      decoding: BodyDecoding(
        limit: try settings.value(Self.decodedBytes, given: decodedBytes),
        ratio: try settings.value(Self.maxRatio, given: maxRatio)),
      decodedTotal: try settings.value(Self.decodedTotal, given: decodedTotal),
      drainDeadline: try settings.value(Self.drain, given: drain))
  }
}

/// A sink's address as the value of an option.
private struct SinkSetting: SettingValue {
  let address: SinkAddress

  static var expectation: String { SinkAddress.expectation }

  init(setting text: String) throws(InvalidSetting) {
    do throws(InvalidSinkAddress) {
      address = try SinkAddress(text)
    } catch {
      throw InvalidSetting(error.description)
    }
  }
}

/// What happens to payloads of revoked keys.
private enum WhenRevoked: String, SettingValue, CaseIterable {
  case store, discard
}
