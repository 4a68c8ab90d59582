// key-publisher: the hand that writes the key store. Each verb answers only when its change is in the store, so that a script may
// rely on the exit status: 0 it is done, 1 it isn't (and standard error says why), 64 the command line makes no sense, 75 it is done
// in the primary, but not all declared replicas are known to have it, so that a failover could lose it: run the verb again.

import ArgumentParser
import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOCore
import NIOPosix
import RedisClient
import Sluice

@main
struct KeyPublisher: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key-publisher",
    abstract: "Writes the API keys that ingest nodes mirror.",
    discussion: """
      A key is stored as its SHA-256 only. Lists are CSV with a header line, or one JSON object a line, with the columns \
      key (a secret) or key_id (its SHA-256 in hexadecimal digits), account, and optionally state (active, suspended, \
      revoked).

      Exit status: 0 it is done; 1 it isn't; 64 the command line makes no sense; 75 it is done in the primary, but not all \
      declared replicas are known to have it: a failover could lose it, run the verb again to confirm it.
      """,
    version: BuildDescription.current,
    subcommands: [
      Import.self, Sync.self, Put.self, Suspend.self, Revoke.self, Seal.self, Confirm.self, Replicas.self, Verify.self,
      Reseal.self, PurgeRevoked.self,
    ])
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
      // A person or a cron job waits for this, not a client: patience is better than an error.
      options.connectDeadline = .seconds(10)
      let connection = try await RedisConnection.connected(
        to: endpoint, options: options, on: MultiThreadedEventLoopGroup.singleton.any())
      defer { connection.close() }
      try await body(connection, layout)
    } catch let error as ExitCode {
      throw error
    } catch let error as ValidationError {
      throw error
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
    "How long to wait for the declared replicas to have the change. If they haven't by then the exit status is 75.",
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
    throw ExitCode(75)
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
        throw ValidationError("--key-id: expected 64 hexadecimal digits, but \(id.utf8.count) characters came")
      }
      return parsed
    default: throw ValidationError("expected either --key or --key-id (or SLUICE_KEY or SLUICE_KEY_ID)")
    }
  }
}

func complain(_ text: String) {
  FileHandle.standardError.write(Data("key-publisher: \(text)\n".utf8))
}

struct Import: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Adds and changes the keys of a list; what isn't listed stays as it is.")

  @OptionGroup var store: StoreWriting
  @Argument(help: "The list's file, or - for standard input.") var file: String

  private static let seal = Setting.flag("seal", "Seal the store when the whole list is in it.")
  @Flag(help: Self.seal.help) var seal = false

  func run() async throws {
    let seal = try Settings().flag(Self.seal, given: seal)
    try await store.run { connection, layout in
      let list = try readList(file)
      var progress = Progress("importing", total: list.entryCount)
      let outcome = try await Publication(connection: connection, layout: layout)
        .importAll(of: list) { progress.update($0) }
      progress.finish()
      print(summary(of: outcome, entries: list.entryCount))
      if seal { try await sealStore(connection, layout, mayBeEmpty: false) }
    }
  }
}

struct Sync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes the store equal to a list: keys that aren't on it are revoked.")

  @OptionGroup var store: StoreWriting
  @Argument(help: "The list's file, or - for standard input.") var file: String

  private static let maxRevoked = Setting<Double>(
    "max-revoked", "Refuse to revoke more than this share of the keys.", shown: "percent", default: "5", in: 0...100)
  @Option(help: Self.maxRevoked.help) var maxRevoked: String?

  private static let seal = Setting.flag("seal", "Seal the store when it is equal to the list.")
  @Flag(help: Self.seal.help) var seal = false

  func run() async throws {
    let maxRevoked = try Settings().value(Self.maxRevoked, given: maxRevoked)
    let seal = try Settings().flag(Self.seal, given: seal)
    try await store.run { connection, layout in
      let list = try readList(file)
      let publication = Publication(connection: connection, layout: layout)
      let plan = try await publication.plan(for: list)
      if Double(plan.toRevoke) > Double(plan.present) * maxRevoked / 100 {
        complain(
          "the list would revoke \(plan.toRevoke) of \(plan.present) keys, more than \(maxRevoked)%. Nothing was changed. "
            + "If that is what you want, say --max-revoked with a larger percentage.")
        throw ExitCode(1)
      }
      var progress = Progress("syncing", total: list.entryCount)
      let outcome = try await publication.sync(with: list, by: plan) { progress.update($0) }
      progress.finish()
      print(summary(of: outcome, entries: list.entryCount) + ", \(plan.toRevoke) revoked")
      if seal { try await sealStore(connection, layout, mayBeEmpty: false) }
    }
  }
}

struct Put: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Adds a key, or makes it active again.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments

  private static let account = Setting<String>(
    "account", "The account that the key belongs to.", shown: "account", isRequired: true)
  @Option(help: Self.account.help) var account: String?

  func run() async throws {
    let account = try Settings().value(Self.account, given: account)
    if let objection = KeyRecord.objection(toAccount: account) { throw ValidationError("--account: \(objection)") }
    let id = try key.resolve()
    try await store.run { connection, layout in
      let outcome = try await KeyStoreWriter(connection: connection, layout: layout)
        .apply([KeyEdit(key: id, kind: .put(account: account, .active))])
      print("key \(id) of \(account) is active\(outcome.changed == 0 ? " already" : ""); version \(outcome.version)")
    }
  }
}

struct Suspend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Suspends a key; put makes it active again.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments

  func run() async throws { try await setState(.suspended, of: try key.resolve(), store) }
}

struct Revoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Revokes a key.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments

  func run() async throws { try await setState(.revoked, of: try key.resolve(), store) }
}

private func setState(_ state: KeyState, of id: KeyID, _ store: StoreWriting) async throws {
  try await store.run { connection, layout in
    let outcome = try await KeyStoreWriter(connection: connection, layout: layout)
      .apply([KeyEdit(key: id, kind: .setState(state))])
    guard outcome.missing == 0 else {
      complain("the store doesn't know key \(id); nothing was changed")
      throw ExitCode(1)
    }
    print("key \(id) is \(state.word)\(outcome.changed == 0 ? " already" : ""); version \(outcome.version)")
  }
}

struct Seal: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says that the store is populated, so that keys it doesn't hold may be refused.")

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
private func sealStore(_ connection: RedisConnection, _ layout: StoreLayout, mayBeEmpty: Bool) async throws {
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
  } catch let error as RedisServerError where ["STOREEMPTY", "STORENONE"].contains(error.code) {
    complain(
      "there are no keys in the store, and sealed like this it would refuse everybody; say --allow-empty to do so")
    throw ExitCode(1)
  }
}

struct Confirm: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says that all removals up to now are meant: nodes that hold some back let them go.")

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
    abstract: "Says how many replicas of this Redis could take its place.",
    discussion: """
      From then on a change is done when all of them have it, and a node refuses a key only while all of them follow the \
      primary. A majority wouldn't do: a failover may promote one that isn't in it. Replicas that are never promoted are to \
      be counted too, since an acknowledgement doesn't say whose it is. 0 takes it back.
      """)

  @OptionGroup var store: StoreWriting
  @Argument(help: "How many: 0 to 32.") var number: Int

  func validate() throws {
    guard (0...Replication.replicaLimit).contains(number) else {
      throw ValidationError("expected 0 to \(Replication.replicaLimit) replicas, but \(number) came")
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

private func readList(_ path: String) throws -> KeyListSpool {
  let file: FileHandle
  if path == "-" {
    file = .standardInput
  } else {
    guard let opened = FileHandle(forReadingAtPath: path) else {
      complain("can't open \(path): \(String(cString: strerror(errno)))")
      throw ExitCode(1)
    }
    file = opened
  }
  var progress = Progress("reading", total: nil)
  do {
    let list = try KeyListSpool.reading(file) { entries, _ in progress.update(entries) }
    progress.finish()
    return list
  } catch let bad as KeyListSpool.BadList {
    progress.finish()
    for problem in bad.problems { complain("\(path): \(problem)") }
    if bad.gaveUp { complain("… and perhaps more") }
    complain("nothing was changed in the store")
    throw ExitCode(1)
  }
}

private func summary(of outcome: EditOutcome?, entries: Int) -> String {
  guard let outcome else { return "the list is empty; nothing was changed" }
  return "\(entries) entries: \(outcome.changed) changed, \(outcome.unchanged) as they were; version \(outcome.version)"
}
