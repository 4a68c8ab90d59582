// The verbs that apply a list. A list isn't trusted blindly: the keys that it would revoke, suspend or move to other
// accounts are counted before anything is written. If there are too many, the list is refused with a sentence that says
// so.
//
// A list must be complete. A file ends with a line feed, and a command ends with status 0, but a pipe shows neither. So
// if keys that aren't listed would be refused, the number of records in a pipe must be given.
//
// The age of a list is that of its start. Keys that the store changed after that stay unchanged, because the list can't
// include these changes.

import ArgumentParser
import CommandSupport
import Foundation
import KeyReplica
import KeyStore
import RedisClient

/// The arguments of both verbs.
struct ListArguments: ParsableArguments {
  @OptionGroup var store: StoreWriting
  @OptionGroup var source: ListSource
  @OptionGroup var naming: NameArguments

  private static let maxRevoked = Setting<Double>(
    "max-revoked",
    "Reject a list that takes more than this share of the active keys out of service (revoked, suspended or, with sync, not "
      + "listed) or moves them to another account. 100 allows everything.",
    shown: "percent", default: "5", in: 0...100)
  @Option(help: Self.maxRevoked.help) var maxRevoked: String?

  @Flag(help: .confirmation("Seal the store when the whole list is in it.")) var seal = false

  @Flag(
    help: .confirmation(
      "Apply the list to revoked keys too, and make suspended or revoked keys active if the list gives no state. Without this option such keys keep their state."
    )
  )
  var reactivate = false

  private static let asOf = Setting<Int>(
    "as-of",
    "The store's version when the list was begun, as key-publisher position prints it. Keys that changed after it keep their "
      + "newer state.",
    shown: "version", as: "the version when key-publisher starts, before --command runs", in: 0...(1 << 53))
  @Option(help: Self.asOf.help) var asOf: String?

  private static let wait = Setting<Duration>(
    "wait", "How long to wait while another list is being applied. Then the exit status is 75.", shown: "time",
    default: "1m", in: .zero ... .seconds(86_400))
  @Option(help: Self.wait.help) var wait: String?

  @Flag(help: .commandLineOnly("Show what the list would do, and change nothing.")) var dryRun = false

  func run(_ verb: String, revokesUnlisted: Bool) async throws {
    let settings = Settings()
    let results = try store.results()
    let maxRevoked = try settings.value(Self.maxRevoked, given: maxRevoked)
    let asOf = try settings.optional(Self.asOf, given: asOf).map { UInt64($0) }
    let wait = try settings.value(Self.wait, given: wait)
    let storeName = try naming.resolve()
    let source = try source.resolve(settings)
    if !dryRun, revokesUnlisted || seal { try source.requireEnd(forSealing: seal) }

    func prepare(
      _ connection: RedisConnection, _ layout: StoreLayout, _ start: Start
    ) async throws -> PlannedList {
      let list = try source.read()
      let terms = ListConsequences.Terms(
        revokesUnlisted: revokesUnlisted, reactivates: reactivate, version: asOf ?? start.version, epoch: start.epoch)
      let publication = Publication(connection: connection, layout: layout, terms: terms)
      let plan = PlannedList(
        verb: verb, list: list, publication: publication, consequences: try await publication.plan(for: list))
      guard plan.consequences.isWithin(percent: maxRevoked) else {
        complain(plan.refusal(maxRevoked: maxRevoked))
        throw ExitStatus.tooManyKeys.code
      }
      return plan
    }

    if dryRun {
      return try await store.store.run { connection, layout in
        let start = try await Start(connection, layout, asOf: asOf, name: storeName)
        let plan = try await prepare(connection, layout, start)
        try results.print(plan.preview, ListResult(plan))
      }
    }
    try await store.run { connection, layout in
      var start = try await Start(connection, layout, asOf: asOf, name: storeName)
      let host = ProcessInfo.processInfo.hostName
      let name = "key-publisher \(verb) on \(host), process \(ProcessInfo.processInfo.processIdentifier)"
      let lease = try await ListLease.take(connection, layout, as: name, within: wait) { holder in
        complain("waiting: another list is being applied by \(holder.name), since \(holder.sinceText)")
      }
      do {
        // A command's list starts now, after the wait for other lists.
        if source.isCommand { start = try await Start(connection, layout, asOf: asOf, name: storeName) }
        let plan = try await prepare(connection, layout, start)
        try results.remark(plan.summary)
        if let storeName { _ = try await KeyStoreWriter(connection: connection, layout: layout).name(storeName) }
        try await carryOut(plan, connection, layout, lease, results)
        await lease.release()
      } catch {
        await lease.release()
        throw error
      }
    }
  }

  private func carryOut(
    _ plan: PlannedList, _ connection: RedisConnection, _ layout: StoreLayout, _ lease: ListLease, _ results: Results
  ) async throws {
    var progress = Progress(plan.verb, total: plan.list.entryCount)
    let outcome = try await plan.publication.carryOut(plan.list, agreed: plan.consequences, under: lease) {
      progress.update($0)
    }
    progress.finish()
    _ = try await revokeDueKeys(connection, layout)
    var result = ListResult(plan, outcome)
    if !results.isJSON { for line in plan.report(outcome) { try results.write(line + "\n") } }
    if result.left.damaged > 0 {
      if results.isJSON { try results.print("", result) }
      complain(
        "\(count(result.left.damaged, "listed key")) couldn't be written, because the record in the store can't be read"
          + "\(seal ? ", so the store wasn't sealed" : ""); \(DamagedRecord.remedy)")
      throw ExitStatus.failed.code
    }
    let overtaken = (outcome.edits?[.otherAccount] ?? 0) + (outcome.edits?[.unagreed] ?? 0)
    if overtaken > 0 {
      if results.isJSON { try results.print("", result) }
      complain("\(count(overtaken, "key")) changed while the list was being applied: left as they are; run it again")
      throw ExitStatus.tryAgain.code
    }
    if seal {
      let sealed = try await sealStore(connection, layout, mayBeEmpty: false)
      (result.sealed, result.version) = (true, sealed.version)
      if !results.isJSON { try results.write(sealed.sentence + "\n") }
    }
    if results.isJSON { try results.print("", result) }
  }

  /// The store's position at the start of the list.
  private struct Start {
    var version: UInt64 = 0
    var epoch: String?

    /// - Parameter name: Which the store must have, if it has one.
    init(_ connection: RedisConnection, _ layout: StoreLayout, asOf: UInt64?, name: String?) async throws {
      switch try await connection.storePosition(layout) {
      case .found(let position):
        (version, epoch) = (position.version, position.epoch)
        if let name, let found = position.store.name, found != name {
          throw OtherStoreName(expected: name, found: found)
        }
      case .noStore: break
      case .incompatible(let why):
        complain(why)
        throw ExitStatus.failed.code
      }
      if let asOf, asOf > version {
        throw ValidationError("--as-of: expected at most \(version), the store's version, got \(asOf)")
      }
    }
  }
}
