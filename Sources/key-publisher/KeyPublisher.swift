// key-publisher: the hand that writes the key store. Each verb answers only when its change is in the store, so that a script may
// rely on the exit status; standard error says why it isn't 0.

import ArgumentParser
import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOCore
import NIOPosix
import RedisClient
import CommandSupport

@main
struct KeyPublisher: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key-publisher",
    abstract: "Writes the API keys that ingest nodes mirror.",
    discussion: """
      A key is stored as its SHA-256 only. Lists are CSV with a header line, or one JSON object a line, with the columns \
      key (a secret) or key_id (its SHA-256 in hexadecimal digits), account, and optionally state (active, suspended, \
      revoked) and revision (a number that grows with each change of the key in your database).

      A change that comes late undoes nothing: revoked is final, a key stays with its account, and a list without a state \
      leaves the state that the store has, unless an option says otherwise.

      Exit status: 0 it is done; 1 it isn't; 3 the list would take away more keys than --max-revoked allows, and nothing was \
      changed; 4 the key was left as it is, because it is revoked, belongs to another account, or was changed since; 64 the \
      command line makes no sense; 75 run the verb again: it is done in the primary, but not all declared replicas are \
      known to have it, and a failover could lose it; or the slot of the keys is moving to another node of the cluster.
      """,
    version: BuildDescription.current,
    subcommands: [
      Import.self, Sync.self, Put.self, Suspend.self, Revoke.self, Seal.self, Confirm.self, Replicas.self, Verify.self,
      Reseal.self, PurgeRevoked.self,
    ])
}

extension ExitCode {
  /// A list would take away more than is allowed; nothing was changed.
  static let tooManyKeys = ExitCode(3)
  /// What the store has stands against the change; the key was left as it is.
  static let keyLeftAlone = ExitCode(4)
  /// The same verb may succeed a little later; to run it twice does no harm.
  static let tryAgain = ExitCode(75)
}

/// What every verb needs: the options, and a conversation with Redis for as long as it works.
struct StoreAccess: ParsableArguments {
  @OptionGroup var redis: RedisArguments

  func run(_ body: (RedisConnection, StoreLayout) async throws -> Void) async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let layout = StoreLayout(namespace: try redis.namespace(settings))
    do {
      var options = RedisOptions()
      options.name = "key-publisher"
      options.needsPrimary = true
      // A person or a cron job waits for this, not a client: patience is better than an error.
      options.connectDeadline = .seconds(10)
      let connection = try await RedisConnection.connected(
        to: endpoint, options: options, routedBy: layout.slot, on: MultiThreadedEventLoopGroup.singleton.any())
      defer { connection.close() }
      try await body(connection, layout)
    } catch let error as ExitCode {
      throw error
    } catch let error as ValidationError {
      throw error
    } catch let error as RedisServerError where error.isOfMovingSlot {
      complain(
        """
        not done: the slot of the keys is moving to another node of the cluster. Try again when the move is over; what \
        is done already isn't done twice (\(error.message))
        """)
      throw ExitCode.tryAgain
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
  }
}

/// What every verb needs that writes: its change is done only when whoever could take the primary's place has it.
struct StoreWriting: ParsableArguments {
  @OptionGroup var store: StoreAccess

  private static let confirmWait = Setting<Duration>(
    "confirm-wait",
    "How long to wait for the declared replicas to confirm the change. Then the exit status is 75.",
    shown: "time", default: "5s", in: .milliseconds(100) ... .seconds(600))
  @Option(help: Self.confirmWait.help) var confirmWait: String?

  func run(_ body: (RedisConnection, StoreLayout) async throws -> Void) async throws {
    let wait = try Settings().value(Self.confirmWait, given: confirmWait)
    try await store.run { connection, layout in
      try await body(connection, layout)
      let isWatched = try store.redis.endpoint(Settings()).isWatched
      try await confirm(
        Replication(connection: connection, layout: layout, isWatched: isWatched), within: TimeAmount(wait))
    }
  }

  private func confirm(_ replication: Replication, within limit: TimeAmount) async throws {
    var objection: String?
    do {
      let confirmation = try await replication.confirm(within: limit)
      if confirmation.declaredNow {
        print(
          "\(confirmation.declared) replicas follow this Redis and are declared now: changes are confirmed when all have them; "
            + "key-publisher replicas changes the number")
      }
      objection = confirmation.objection
    } catch {
      objection = "\(error)"
    }
    guard let objection else { return }
    complain(
      "the change is in the primary, but isn't confirmed: \(objection). A failover could lose it; run the verb again to confirm it."
    )
    throw ExitCode.tryAgain
  }
}

/// Which key a verb is about.
struct KeyArguments: ParsableArguments {
  private static let key = Setting<Secret>(
    "key", "The key itself, or - to read it from standard input.", shown: "key")
  @Option(help: Self.key.help) var key: String?

  private static let keyID = Setting<String>("key-id", "The key's SHA-256, 64 hexadecimal digits.", shown: "id")
  @Option(help: Self.keyID.help) var keyID: String?

  func resolve() throws -> KeyID {
    let settings = Settings()
    let key = try settings.optional(Self.key, given: key)
    switch (key, try settings.optional(Self.keyID, given: keyID)) {
    case (let key?, nil):
      let secret = key.revealed == "-" ? (readLine(strippingNewline: true) ?? "") : key.revealed
      if let objection = KeyListParser.objection(toSecret: secret) { throw ValidationError(objection) }
      return KeyID(secret: secret.utf8)
    case (nil, let id?):
      guard let parsed = KeyID(hex: id) else {
        throw ValidationError("--key-id: expected 64 hexadecimal digits, got \(id.utf8.count) characters")
      }
      return parsed
    default: throw ValidationError("expected either --key or --key-id (or SLUICE_KEY or SLUICE_KEY_ID)")
    }
  }
}

func complain(_ text: String) {
  FileHandle.standardError.write(Data("key-publisher: \(text)\n".utf8))
}

struct Seal: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares the store complete, so that nodes may refuse keys that aren't in it.")

  @OptionGroup var store: StoreWriting

  private static let allowEmpty = Setting.flag(
    "allow-empty", "Seal a store without keys, too: every key will be refused.")
  @Flag(help: Self.allowEmpty.help) var allowEmpty = false

  func run() async throws {
    let allowEmpty = try Settings().flag(Self.allowEmpty, given: allowEmpty)
    try await store.run { connection, layout in
      try await sealStore(connection, layout, mayBeEmpty: allowEmpty)
    }
  }
}

/// Sealing is a promise about every record, so every record is read first.
func sealStore(_ connection: RedisConnection, _ layout: StoreLayout, mayBeEmpty: Bool) async throws {
  if case .found = try await connection.storePosition(layout) {
    let verification = try await connection.verifyStore(layout)
    guard verification.problems.isEmpty else {
      report(verification)
      complain("the store isn't sealed")
      throw ExitCode(1)
    }
  }
  do {
    let sealed = try await KeyStoreWriter(connection: connection, layout: layout).seal(mayBeEmpty: mayBeEmpty)
    print("the store is sealed\(sealed.already ? " already" : "") with \(sealed.keys) keys; version \(sealed.version)")
  } catch let error as RedisServerError where [.empty, .absent].contains(error.storeCode) {
    complain(
      "there are no keys in the store, and sealed like this it would refuse everybody; say --allow-empty to do so")
    throw ExitCode(1)
  }
}

struct Confirm: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Confirms all removals so far, so that nodes that held back a mass removal apply it.")

  @OptionGroup var store: StoreWriting

  func run() async throws {
    try await store.run { connection, layout in
      let version = try await KeyStoreWriter(connection: connection, layout: layout).confirmRemovals()
      print("all removals up to version \(version) are confirmed")
    }
  }
}

struct Replicas: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares how many replicas of this Redis could be promoted.",
    discussion: """
      From then on a change is done when all of them have it, since a failover may promote any of them, and a node refuses \
      a key only while a majority of them follows the primary. Count replicas that are never promoted as well: Redis \
      doesn't say which replica has acknowledged a change. 0 takes it back.
      """)

  @OptionGroup var store: StoreWriting
  @Argument(help: "How many: 0 to 32.") var number: Int

  func validate() throws {
    guard (0...Replication.replicaLimit).contains(number) else {
      throw ValidationError("expected 0 to \(Replication.replicaLimit) replicas, got \(number)")
    }
  }

  func run() async throws {
    try await store.run { connection, layout in
      try await Replication(connection: connection, layout: layout).declare(replicas: number)
      print("\(number) replicas are declared")
    }
  }
}

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Reads the whole store and checks all digests and counts.")

  @OptionGroup var store: StoreAccess

  func run() async throws {
    try await store.run { connection, layout in
      var progress = Progress("verifying", total: StoreLayout.bucketCount, unit: "buckets")
      let verification = try await connection.verifyStore(layout) { progress.update($0) }
      progress.finish()
      report(verification)
      if !verification.problems.isEmpty { throw ExitCode(1) }
    }
  }
}

private func report(_ verification: StoreVerification) {
  for problem in verification.problems { complain(problem) }
  if verification.problemCount > verification.problems.count {
    complain("… and \(verification.problemCount - verification.problems.count) more")
  }
  guard let position = verification.position else { return }
  let states = KeyState.allCases.map { "\(verification.keysByState[$0] ?? 0) \($0.word)" }.joined(separator: ", ")
  print(
    """
    epoch    \(position.epoch)
    version  \(position.version)
    keys     \(position.count) (\(states))
    digest   \(position.digest)
    sealed   \(position.sealed ? "yes" : "no")
    result   \(verification.problems.isEmpty ? "every bucket is what it says it is" : "\(verification.problemCount) problems")
    """)
}
