// The verb that keeps the store equal to a source for as long as it runs. The module SourceFollower does the work. This
// file has the verb's options, the handling of signals, and the connection to Redis.

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
    abstract: "Keeps the store equal to your database, and records in the source mark how current it is.",
    discussion: """
      With a PostgreSQL address and --table, a trigger writes each change of the table into an outbox, and the follower \
      writes the change into the store within milliseconds. --install creates the trigger; --print-install prints its \
      statements, for another user to run. With --query the whole list is read at each interval. For any other source \
      give --command instead of an address: the command prints the list in the format of sync, and must end with status 0.

        key-publisher follow postgres://sluice@db/app --table api_keys --key-id-column key_sha256 --account-column account_id \
      --state "CASE WHEN revoked_at IS NULL THEN 'active' ELSE 'revoked' END" --install

      The source decides: a key that is revoked in the store and active in the source becomes active, with a warning in \
      the log, and keys that aren't in the source are revoked. So change keys in your database. To block a key at once if \
      you can't, stop all followers, and then revoke it in the store. At the start, and each --compare-every, the \
      whole store is compared with the source, with the guard of sync (--max-revoked).

      A follower runs until SIGTERM or SIGINT. Start followers on two machines: one follows, the other stands by and \
      takes over. key-publisher source shows the age of the mark, and sets its maximum age for refusals.

      The first follower of an outbox ties it to its store, and a follower of another store ends with an error. A store that \
      replaces the tied one gets the outbox after key-publisher adopt. --move-outbox ties it to any other store.
      """)

  @OptionGroup var store: StoreAccess
  @OptionGroup var log: LogArguments
  @OptionGroup var columns: FollowColumns
  @OptionGroup var naming: NameArguments

  /// The beginning of the name under which a follower holds the lease.
  static let leaseName = "key-publisher follow"

  private static let source = Setting<SourceSetting>(
    "source", "The database: \(SourceAddress.expectation). libpq also reads its environment variables and ~/.pgpass.",
    shown: "source", as: "none, with --command")
  @Argument(help: Self.source.help) var source: String?

  // Not in the environment: a variable would run a command that the operator hasn't asked for.
  @Option(
    help: .commandLineOnly(
      "A command that prints the whole list, run by /bin/sh. The list is used only if the command ends with status 0.",
      valueName: "command"))
  var command: String?

  private static let every = Setting<Duration>(
    "every", "With --command and --query: the interval of reading the list.", shown: "time", default: "30s",
    in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.every.help) var every: String?

  private static let commandLimit = Setting<Duration>(
    "command-limit", "Kill the command after this time, and ignore its list.", shown: "time", default: "10m",
    in: .seconds(1) ... .seconds(86_400))
  @Option(help: Self.commandLimit.help) var commandLimit: String?

  private static let compareEvery = Setting<Duration>(
    "compare-every", "With --table: the interval of comparing the whole table with the store.", shown: "time",
    default: "1h", in: .seconds(1) ... .seconds(7 * 86_400))
  @Option(help: Self.compareEvery.help) var compareEvery: String?

  private static let markEvery = Setting<Duration>(
    "mark-every", "With --table: how often the source mark is renewed while nothing changes.", shown: "time",
    default: "1s",
    in: .milliseconds(20) ... .seconds(60))
  @Option(help: Self.markEvery.help) var markEvery: String?

  private static let maxRevoked = Setting<Double>(
    "max-revoked",
    "Reject a comparison that would take more than this share of the active keys out of service or move them to another "
      + "account. 100 allows everything.", shown: "percent", default: "5", in: 0...100)
  @Option(help: Self.maxRevoked.help) var maxRevoked: String?

  private static let confirmWait = Setting<Duration>(
    "confirm-wait",
    "How long to wait for the declared replicas to confirm a change. The source mark isn't renewed before that.",
    shown: "time", default: "5s", in: .milliseconds(100) ... .seconds(600))
  @Option(help: Self.confirmWait.help) var confirmWait: String?

  @Flag(help: .confirmation("Seal the store when it is equal to the source.")) var seal = false
  @Flag(help: .confirmation("With --table: first create the outbox and the trigger, or replace the trigger."))
  var install = false
  @Flag(help: .commandLineOnly("With --table: print the statements that --install runs, and end."))
  var printInstall = false
  @Flag(
    help: .commandLineOnly(
      "With --table: tie the outbox to the store at this address, whatever store it was tied to, and end."))
  var moveOutbox = false

  func run() async throws {
    let settings = Settings()
    let source = try followed(settings)
    // The outbox's numbers begin with the time, so that an outbox that was dropped and created again doesn't use a
    // number twice.
    let first = UInt64(Date().timeIntervalSince1970 * 1_000_000)
    if printInstall {
      guard case .table(_, let table) = source else { throw ValidationError("--print-install needs --table") }
      return try Results(isJSON: false).write(table.installationText(first: first))
    }
    let endpoint = try store.redis.endpoint(settings)
    let layout = StoreLayout(namespace: try store.redis.namespace(settings))
    let host = ProcessInfo.processInfo.hostName
    var options = FollowOptions(
      name: "\(Self.leaseName) on \(host), process \(ProcessInfo.processInfo.processIdentifier)")
    options.compareEvery = try settings.value(Self.compareEvery, given: compareEvery)
    options.markEvery = try settings.value(Self.markEvery, given: markEvery)
    options.maxRevoked = try settings.value(Self.maxRevoked, given: maxRevoked)
    options.confirmWait = try settings.value(Self.confirmWait, given: confirmWait)
    options.isWatched = endpoint.isWatched
    options.storeName = try naming.resolve()
    let logger = try log.start(settings, label: "key-publisher")
    do {
      if install {
        guard case .table(let address, let table) = source else { throw ValidationError("--install needs --table") }
        try await SourceFollower.install(table, at: address, first: first)
        logger.notice("the trigger is installed", metadata: ["source": "\(address)"])
      }
      let connect: @Sendable () async throws -> RedisConnection = {
        var options = RedisOptions()
        options.name = "key-publisher"
        options.needsPrimary = true
        return try await RedisConnection.connected(
          to: endpoint, options: options, routedBy: layout.slot, on: MultiThreadedEventLoopGroup.singleton.any())
      }
      if moveOutbox {
        guard case .table(let address, let table) = source else { throw ValidationError("--move-outbox needs --table") }
        let connection = try await connect()
        defer { connection.close() }
        let identity = try await SourceFollower.moveOutbox(of: table, at: address, to: connection, layout)
        return try Results(isJSON: false).write("the outbox is tied to the store \(identity)\n")
      }
      let follower = SourceFollower(
        source, into: layout, options: options, logger: logger, connect: connect
      ) { [seal] connection in
        guard seal else { return 0 }
        do {
          let sealed = try await sealStore(connection, layout, mayBeEmpty: false)
          logger.notice("\(sealed.sentence)")
          return sealed.changed ? 1 : 0
        } catch let error where !StoreFailure(of: error).passes && !(error is CancellationError) {
          throw EndOfFollowing("the store is equal to the source, but --seal failed: \(error)", cause: error)
        }
      }
      try await untilTold { try await follower.run() }
    } catch let error as ExitCode {
      throw error
    } catch let error as ValidationError {
      throw error
    } catch let end as EndOfFollowing {
      complain("\(end)")
      throw ExitStatus(of: end.cause).code
    } catch {
      complain("\(error)")
      throw ExitStatus(of: error).code
    }
  }

  /// Runs the body until it ends, or until a signal asks this process to end.
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
      guard address == nil, !command.isEmpty, columns.isEmpty else {
        throw ValidationError("expected a command in --command, without a database address or column options")
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

/// An address as the value of an option. The actual text is never shown, because it may contain a password.
private struct SourceSetting: SettingValue {
  let address: SourceAddress

  static let expectation = SourceAddress.expectation

  init(setting text: String) throws(InvalidSetting) {
    guard let address = SourceAddress(text) else {
      throw InvalidSetting("expected \(Self.expectation), with libpq options only and valid percent-encoding")
    }
    self.address = address
  }
}
