// The verb that keeps the store equal to a source for as long as it runs. What it does is in the module SourceFollower;
// here are its options, its signals, and the connection to Redis.

import ArgumentParser
import CommandSupport
import Foundation
import KeyStore
import Logging
import NIOCore
import NIOPosix
import RedisClient
import SourceFollower
import UnixSignals

struct Follow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Keeps the store equal to your database, and says as of when it is.",
    discussion: """
      With a PostgreSQL address and --table, a trigger notes each change of the table in an outbox, and the follower carries it \
      into the store within milliseconds. --install creates the trigger; --print-install prints it for somebody else to run. With \
      --query the whole list is read each interval. With --command instead of an address any other source is followed: the command \
      prints the list as sync takes it, and its exit status counts.

        key-publisher follow postgres://sluice@db/app --table api_keys --key-id-column key_sha256 --account-column account_id \
      --state "CASE WHEN revoked_at IS NULL THEN 'active' ELSE 'revoked' END" --install

      The source decides: a key that is revoked in the store and active in the source becomes active, and keys that aren't in the \
      source are revoked. So change keys in your database. At the start, and each --compare-every, everything is compared, with the \
      guard of sync (--max-revoked).

      It runs until SIGTERM or SIGINT. Start it on two machines: one follows, the other stands by and takes over. key-publisher source \
      shows how old the store is, and sets how old it may be for refusals.
      """)

  @OptionGroup var store: StoreAccess
  @OptionGroup var log: LogArguments
  @OptionGroup var columns: FollowColumns

  private static let source = Setting<SourceSetting>(
    "source", "The database: \(SourceAddress.expectation). libpq's environment variables and ~/.pgpass work, too.",
    shown: "source", as: "none, with --command")
  @Argument(help: Self.source.help) var source: String?

  // Not in the environment, which would then hold a command that is run without having been asked for.
  @Option(
    help: ArgumentHelp(
      "A command that prints the whole list, run by /bin/sh. The list is taken only if it ends with status 0 (only on the "
        + "command line).", valueName: "command"))
  var command: String?

  private static let every = Setting<Duration>(
    "every", "With --command and --query: how often the list is read.", shown: "time", default: "30s",
    in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.every.help) var every: String?

  private static let commandLimit = Setting<Duration>(
    "command-limit", "Kill the command after this time; its list isn't taken.", shown: "time", default: "10m",
    in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.commandLimit.help) var commandLimit: String?

  private static let compareEvery = Setting<Duration>(
    "compare-every", "With --table: how often the whole table is compared with the store.", shown: "time",
    default: "1h", in: .seconds(1) ... .seconds(7 * 86_400))
  @Option(help: Self.compareEvery.help) var compareEvery: String?

  private static let markEvery = Setting<Duration>(
    "mark-every", "With --table: how often the store is marked while nothing changes.", shown: "time", default: "1s",
    in: .milliseconds(20) ... .seconds(60))
  @Option(help: Self.markEvery.help) var markEvery: String?

  private static let maxRevoked = Setting<Double>(
    "max-revoked",
    "Don't carry out a comparison that takes more than this share of the active keys out of service or moves them to another "
      + "account. 100 allows everything.", shown: "percent", default: "5", in: 0...100)
  @Option(help: Self.maxRevoked.help) var maxRevoked: String?

  private static let confirmWait = Setting<Duration>(
    "confirm-wait",
    "How long to wait for the declared replicas to confirm a change. Until they do, the store isn't marked.",
    shown: "time", default: "5s", in: .milliseconds(100) ... .seconds(600))
  @Option(help: Self.confirmWait.help) var confirmWait: String?

  @Flag(help: .confirmation("Seal the store when it is equal to the source.")) var seal = false
  @Flag(help: .confirmation("With --table: create the outbox and the trigger first, or make them anew."))
  var install = false
  @Flag(help: "With --table: print what --install runs, and end.") var printInstall = false

  func run() async throws {
    let settings = Settings()
    let source = try followed(settings)
    // Numbers of the outbox begin with the time, so that one that is made again has none twice.
    let first = UInt64(Date().timeIntervalSince1970 * 1_000_000)
    if printInstall {
      guard case .table(_, let table) = source else { throw ValidationError("--print-install needs --table") }
      return try Results(isJSON: false).write(table.installationText(first: first))
    }
    let endpoint = try store.redis.endpoint(settings)
    let layout = StoreLayout(namespace: try store.redis.namespace(settings))
    let host = ProcessInfo.processInfo.hostName
    var options = FollowOptions(
      name: "key-publisher follow on \(host), process \(ProcessInfo.processInfo.processIdentifier)")
    options.compareEvery = try settings.value(Self.compareEvery, given: compareEvery)
    options.markEvery = try settings.value(Self.markEvery, given: markEvery)
    options.maxRevoked = try settings.value(Self.maxRevoked, given: maxRevoked)
    options.confirmWait = try settings.value(Self.confirmWait, given: confirmWait)
    options.isWatched = endpoint.isWatched
    let logger = try log.start(settings, label: "key-publisher")
    do {
      if install {
        guard case .table(let address, let table) = source else { throw ValidationError("--install needs --table") }
        try await SourceFollower.install(table, at: address, first: first)
        logger.notice("the trigger is installed", metadata: ["source": "\(address)"])
      }
      let follower = SourceFollower(source, into: layout, options: options, logger: logger) {
        var options = RedisOptions()
        options.name = "key-publisher"
        options.needsPrimary = true
        return try await RedisConnection.connected(
          to: endpoint, options: options, routedBy: layout.slot, on: MultiThreadedEventLoopGroup.singleton.any())
      } afterComparison: { [seal] connection in
        if seal { logger.notice("\(try await sealStore(connection, layout, mayBeEmpty: false).sentence)") }
      }
      try await untilTold { try await follower.run() }
    } catch let error as ExitCode {
      throw error
    } catch let error as ValidationError {
      throw error
    } catch {
      complain("\(error)")
      throw ExitStatus(of: error).code
    }
  }

  /// Does something until it ends or this process is told to end.
  private func untilTold(_ body: @escaping @Sendable () async throws -> Void) async throws {
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await body() }
      group.addTask {
        for await _ in signals { return }
        try await Task.sleep(for: .seconds(86_400 * 365))
      }
      defer { group.cancelAll() }
      _ = try await group.next()
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  private func followed(_ settings: Settings) throws -> FollowedSource {
    let address = try settings.optional(Self.source, given: source)?.address
    let interval = try settings.value(Self.every, given: every)
    if let command {
      guard address == nil, !command.isEmpty, try columns.isEmpty(settings) else {
        throw ValidationError("expected either a database's address, or --command without columns")
      }
      return .command(command, every: interval, within: try settings.value(Self.commandLimit, given: commandLimit))
    }
    guard let address else {
      throw ValidationError("expected a database's address (or SLUICE_SOURCE), or --command")
    }
    switch try columns.resolve(settings) {
    case .query(let query): return .query(address, query, every: interval)
    case .table(let table): return .table(address, table)
    }
  }
}

/// An address as the value of an option. It is never shown: it may hold a password.
private struct SourceSetting: SettingValue {
  let address: SourceAddress

  static let expectation = SourceAddress.expectation

  init(setting text: String) throws(InvalidSetting) {
    guard let address = SourceAddress(text) else {
      throw InvalidSetting("expected \(Self.expectation), with parameters that libpq knows and nothing wrongly encoded")
    }
    self.address = address
  }
}
