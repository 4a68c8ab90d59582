// ingest-worker: takes payloads from the queue and stores them. Here are the command line and the signals; what it does is in
// the module IngestWorker.

import ArgumentParser
import Fleet
import Foundation
import IngestQueue
import IngestWorker
import Logging
import NIOPosix
import RedisClient
import ServiceLifecycle
import Sluice
import UnixSignals

@main
struct IngestWorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingest-worker",
    abstract: "Takes payloads from the queue in Redis and stores them.",
    discussion: """
      Every option can be given as an environment variable too; the command line wins. A length of time is a number of \
      seconds, or has a unit: 250ms, 5s, 2m, 1h.

      SIGTERM or SIGINT: claims nothing more, finishes what the sink has in hand, puts back the rest, ends with status 0. \
      Other statuses: 64 the options make no sense, 1 anything else; standard error says what.
      """,
    version: BuildDescription.current)

  @OptionGroup var redis: RedisArguments
  @OptionGroup var log: LogArguments

  @Option(
    help: ArgumentHelp(
      "What this worker is called: 1 to 64 letters, digits, \"_\", \".\" or \"-\". Each worker needs a name of its own. "
        + "(default: this machine's host name; environment: SLUICE_NAME)", valueName: "name"))
  var name: String?

  @Option(
    help: ArgumentHelp(
      "Where payloads are stored: sqlite:PATH, a file in a folder that exists. (required; environment: SLUICE_SINK)",
      valueName: "sink"))
  var sink: String?

  @Option(
    help: ArgumentHelp(
      "The most payloads that are claimed and stored at once, 1 to 1000. (default: 100; environment: SLUICE_BATCH)",
      valueName: "number"))
  var batch: String?

  @Option(
    help: ArgumentHelp(
      "The most bytes that are claimed at once, 1024 to 67108864; a larger payload is claimed alone. "
        + "(default: 8388608; environment: SLUICE_BATCH_BYTES)", valueName: "bytes"))
  var batchBytes: String?

  @Option(
    help: ArgumentHelp(
      "Batches that are worked on at one time, 1 to \(WorkerOptions.mostLanes). (default: 2; environment: SLUICE_LANES)",
      valueName: "number"))
  var lanes: String?

  @Option(
    help: ArgumentHelp(
      "How long after this worker's death others may take over what it had claimed, 1s to 1h. "
        + "(default: 30s; environment: SLUICE_LEASE)", valueName: "time"))
  var lease: String?

  @Option(
    help: ArgumentHelp(
      "Failed attempts after which a payload becomes a dead letter, 1 to 100. (default: 5; environment: SLUICE_ATTEMPTS)",
      valueName: "number"))
  var attempts: String?

  @Option(
    help: ArgumentHelp(
      "Workers that may die over a payload before it becomes a dead letter, 1 to 100. "
        + "(default: 3; environment: SLUICE_DEATHS)", valueName: "number"))
  var deaths: String?

  @Option(
    help: ArgumentHelp(
      "The most bytes that a compressed payload may have once it is decoded, 1024 to 1073741824. "
        + "(default: 67108864; environment: SLUICE_DECODED_BYTES)", valueName: "bytes"))
  var decodedBytes: String?

  @Option(
    help: ArgumentHelp(
      "The most bytes that may come out of a compressed payload for each byte that was sent, 1 to 1000000; a MiB may come "
        + "out of any. (default: 200; environment: SLUICE_MAX_RATIO)", valueName: "number"))
  var maxRatio: String?

  @Option(
    help: ArgumentHelp(
      "How long the sink may go on after SIGTERM before what isn't stored is put back, 0s to 1h. "
        + "(default: 10s; environment: SLUICE_DRAIN)", valueName: "time"))
  var drain: String?

  func run() async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let namespace = try redis.namespace(settings)
    let address = try sinkAddress(settings)
    let options = try workerOptions(settings)
    let logger = try log.start(settings, label: "ingest-worker")

    let sink = try address.open()
    let worker = Worker(
      endpoint: endpoint, layout: QueueLayout(namespace: namespace), options: options, sink: sink, logger: logger)

    // A conversation of its own: a report must not wait behind a claim of many megabytes, nor a claim be given up because a report was late.
    let reporting = RedisClient(
      endpoint: endpoint, options: RedisOptions(name: "ingest-worker-report"),
      on: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
    defer { reporting.shutDown() }
    let heartbeat = Heartbeat(
      FleetDirectory(client: reporting, layout: FleetLayout(namespace: namespace)), logger: logger
    ) { worker.report }

    var group = ServiceGroupConfiguration(
      services: [heartbeat, worker], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    // For a sink that doesn't even react to being cancelled: the process ends, and what it had claimed comes back with the end of its lease.
    group.maximumGracefulShutdownDuration = options.drainDeadline + .seconds(20)
    group.maximumCancellationDuration = .seconds(10)
    try await ServiceGroup(configuration: group).run()
  }

  private func sinkAddress(_ settings: Settings) throws(ValidationError) -> SinkAddress {
    let address = try settings.required("sink", given: sink, as: SinkSetting.self).address
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
      return address
    }
  }

  private func workerOptions(_ settings: Settings) throws(ValidationError) -> WorkerOptions {
    let member = try settings.value("name", given: name, default: MemberName.ofThisHost, as: MemberName.self)
    guard let name = WorkerName(member.text) else {
      throw ValidationError("--name: expected \(MemberName.expectation), but \"\(member)\" came")
    }
    var limits = ConsumerLimits()
    limits.envelopes = try settings.value("batch", given: batch, default: "100", in: 1...1_000)
    limits.bytes = try settings.value("batch-bytes", given: batchBytes, default: "8388608", in: 1_024...67_108_864)
    limits.lease = try settings.value("lease", given: lease, default: "30s", in: .seconds(1)...Duration.seconds(3_600))
    limits.attempts = try settings.value("attempts", given: attempts, default: "5", in: 1...100)
    limits.deaths = try settings.value("deaths", given: deaths, default: "3", in: 1...100)
    return WorkerOptions(
      name: name, build: BuildDescription.current,
      lanes: try settings.value("lanes", given: lanes, default: "2", in: 1...WorkerOptions.mostLanes),
      consumer: limits,
      decoding: BodyDecoding(
        limit: try settings.value(
          "decoded-bytes", given: decodedBytes, default: "67108864", in: 1_024...1_073_741_824),
        ratio: try settings.value("max-ratio", given: maxRatio, default: "200", in: 1...1_000_000)),
      drainDeadline: try settings.value(
        "drain", given: drain, default: "10s", in: .seconds(0)...Duration.seconds(3_600)))
  }
}

/// A sink's address as the value of an option.
private struct SinkSetting: SettingValue {
  let address: SinkAddress

  static var expectation: String { SinkAddress.expectation }

  init(setting text: String) throws(InvalidSetting) {
    guard let address = SinkAddress(text) else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self.address = address
  }
}
