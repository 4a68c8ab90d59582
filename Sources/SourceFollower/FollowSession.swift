// One session of a follower: from the lease to the first error.
//
// With an outbox, a session begins by claiming the outbox (see OutboxClaim), and then compares the whole store. Then it
// repeats these steps:
//
//   1. Read Redis's time.
//   2. Read the outbox, and that it is still this session's.
//   3. Carry out the changes in the store, and wait until replicas have confirmed them.
//   4. Mark the store with the time of step 1.
//   5. Delete the changes from the outbox, if it is still this session's.
//   6. Wait for a notification, or until the next mark is due.
//
// Later comparisons run at the same time as these steps, on a PostgreSQL connection of their own. They leave keys
// unchanged that were changed after their start.
//
// Why the mark is true: if PostgreSQL answered a commit before step 1, the change is visible to every later snapshot on
// the primary, including that of step 2. If that snapshot has the change in the outbox, step 3 writes it into the store
// before step 4 marks the store. Otherwise the change was deleted from the outbox earlier: by this session, which does
// that only when the change is in the store; or before this session claimed the outbox, and so before its comparison.
// Followers of earlier builds delete without a claim, possibly during the first comparison. So a key that this
// comparison left to its change must come from the outbox, or everything is compared again.
//
// The store is equal to the source at a version only if no other program has changed the store since the comparison
// began. So every version that is neither the comparison's nor of a change that was carried out leads to another
// comparison before the next mark.

import KeyReplica
import KeyStore
import Logging
import RedisClient
import Synchronization

/// One session. Used by one task.
final class FollowSession: Sendable {
  private let source: FollowedSource
  private let layout: StoreLayout
  private let options: FollowOptions
  private let notes: FollowNotes
  private let afterComparison: @Sendable (RedisConnection) async throws -> Int
  private let state = Mutex(State())

  private struct State {
    var hasFollowed = false
    /// The result of the last comparison, until the session handles it.
    var compared: Result<Comparison.Outcome, any Error>?
  }

  init(
    _ source: FollowedSource, _ layout: StoreLayout, _ options: FollowOptions, _ notes: FollowNotes,
    _ afterComparison: @escaping @Sendable (RedisConnection) async throws -> Int
  ) {
    (self.source, self.layout, self.options, self.notes) = (source, layout, options, notes)
    self.afterComparison = afterComparison
  }

  /// Whether this session has made the store equal to the source at least once.
  var hasFollowed: Bool { state.withLock { $0.hasFollowed } }

  /// Follows the source until the first error.
  func follow(_ connection: RedisConnection, _ lease: ListLease) async throws {
    let store = FollowedStore(connection, layout, lease)
    try await requireName(connection)
    switch source {
    case .command(let command, let interval, let limit):
      try await follow(store, supply: .command(command, within: limit), every: interval)
    case .query(let address, let query, let interval):
      let database = SourceDatabase(address, deadline: options.listDeadline)
      let columns = try await database.columns(of: query.outline)
      try await follow(
        store, supply: .database(database, statement: try query.list(columns: columns), waitingKeys: nil),
        every: interval)
    case .table(let address, let table):
      try await follow(store, table, address)
    }
  }

  /// Checks that the store isn't another one than the expected one.
  private func requireName(_ connection: RedisConnection) async throws {
    guard let expected = options.storeName, case .found(let position) = try await connection.storePosition(layout),
      let found = position.store.name, found != expected
    else { return }
    throw OtherStoreName(expected: expected, found: found)
  }

  // MARK: Whole lists

  private func follow(_ store: FollowedStore, supply: ListSupply, every interval: Duration) async throws {
    let clock = ContinuousClock()
    while true {
      let begin = clock.now
      try Task.checkCancellation()
      // The comparison sees changes that other programs made before it.
      _ = store.takeOthersChanges()
      let outcome: Comparison.Outcome
      do {
        outcome = try await comparison(store, supply).run()
      } catch let error where isOfList(error) {
        notes.problem(.comparison, "\(error)")
        try await rest(store, until: begin + interval)
        continue
      }
      warn(of: outcome)
      var isEqual = outcome.overtaken == 0 && !outcome.hasOtherVersions
      if outcome.overtaken == 0 {
        try await hasCompared(store, outcome, isAlone: true)
        if store.takeOthersChanges() { isEqual = false }
      }
      if isEqual { try await store.mark(outcome.moment) }
      try await rest(store, until: begin + (isEqual ? interval : options.markEvery))
    }
  }

  /// Waits for the next list, and checks the store each second, so that a restored store is noticed soon.
  private func rest(_ store: FollowedStore, until end: ContinuousClock.Instant) async throws {
    let clock = ContinuousClock()
    repeat {
      try await Task.sleep(until: min(end, clock.now + .seconds(1)), clock: clock)
      try await store.check()
    } while clock.now < end
  }

  /// Whether an error is about the list only. Then the session goes on with the next list. Other errors end the
  /// session.
  private func isOfList(_ error: any Error) -> Bool {
    switch error {
    case is Comparison.Refused, is KeyListSpool.BadList, is ExportCommand.Failed, is ExportCommand.CannotStart,
      is SourceDatabase.UnreadableRows, is ChangeConfirmation.Missing, is Publication.MoreThanAgreed, is DamagedRecord:
      true
    default: false
    }
  }

  private func comparison(_ store: FollowedStore, _ supply: ListSupply) -> Comparison {
    Comparison(
      connection: store.connection, layout: layout, lease: store.lease, supply: supply, maxRevoked: options.maxRevoked,
      storeName: options.storeName, confirmation: confirmation)
  }

  private var confirmation: ChangeConfirmation {
    ChangeConfirmation(isWatched: options.isWatched, limit: options.confirmWait)
  }

  /// Warns about keys that the source made active again. Somebody may have revoked them in the store and believe that
  /// they stay so.
  private func warn(of outcome: Comparison.Outcome) {
    guard outcome.reactivated > 0 else { return }
    let keys = outcome.reactivatedExamples.map { "\($0.key) of \($0.account)" }
    let more = outcome.reactivated > keys.count ? ", …" : ""
    notes.warning(
      "keys that were suspended or revoked in the store are active again, because they are active in the source "
        + "(\(outcome.reactivated)): \(keys.joined(separator: ", "))\(more). To suspend or revoke a key, change it in the "
        + "source")
  }

  /// Records that a comparison has made the store equal to the source.
  /// - Parameter isAlone: Whether the follower carried out no changes during the comparison. Otherwise the known
  ///   version stays, so that the follower notices other programs' changes since then.
  private func hasCompared(
    _ store: FollowedStore, _ outcome: Comparison.Outcome, isAlone: Bool
  ) async throws {
    if isAlone, let position = outcome.position { try store.isAt(position) }
    notes.resolved(.comparison, "the store was compared with the source again")
    let isFirst = state.withLock { state in
      defer { state.hasFollowed = true }
      return !state.hasFollowed
    }
    if isFirst || outcome.changed > 0 {
      notes.notice(
        "the store is equal to the source: \(outcome.keys) keys; \(outcome.changed) changed, of which "
          + "\(outcome.added) were added and \(outcome.ended) suspended, revoked or expired")
    }
    guard isFirst else { return }
    if outcome.position != nil {
      // The function may have sealed the store, which is a change.
      let changes = try await afterComparison(store.connection)
      if case .found(let position) = try await store.connection.storePosition(layout) {
        try store.isAt(position, after: changes)
      }
    }
    notes.resolved(.session, "following the source again")
  }

  // MARK: Changes

  private func follow(_ store: FollowedStore, _ table: FollowedTable, _ address: SourceAddress) async throws {
    let database = SourceDatabase(address, deadline: .seconds(30))
    let lists = SourceDatabase(address, deadline: options.listDeadline)
    try await check(table, database)
    try await database.run([table.listen])
    var claim = try await OutboxClaim(of: table, in: database, for: store.connection, layout)
    let comparison = comparison(
      store, .database(lists, statement: table.list, waitingKeys: table.waitingKeys))
    let clock = ContinuousClock()
    var plan = FollowPlan(interval: options.compareEvery, now: clock.now)
    // Keys that were deleted from the source during a comparison and weren't in the store at that time. The
    // comparison's list is older than the deletion, so the comparison may have added them.
    var unknown: Set<KeyID> = []
    // Keys that the first comparison left to their changes in the outbox, until these changes are carried out.
    var waiting: Set<KeyID> = []
    try await withThrowingDiscardingTaskGroup { group in
      defer { group.cancelAll() }
      while true {
        try Task.checkCancellation()
        if plan.isDue(clock.now) {
          try await check(table, database)
          plan.began(clock.now)
          unknown = []
          // No changes are carried out during the first comparison: only its guard shows whether this is the right
          // source.
          if hasFollowed {
            group.addTask { await self.compare(comparison) }
          } else {
            await compare(comparison)
          }
        }
        if let compared = state.withLock({ $0.compared.take() }) {
          try await ended(compared, store, &plan, unknown, &waiting, clock.now)
        }
        guard hasFollowed else {
          try await Task.sleep(for: options.markEvery, clock: clock)
          continue
        }
        let isComplete = try await carryOutChanges(
          store, table, database, &claim, &plan, &unknown, &waiting, clock)
        if isComplete { try await database.notification(within: options.markEvery) }
      }
    }
  }

  /// Checks that the server is a primary and that the trigger is there. Without the trigger, changes of the table would
  /// be missed until the next comparison.
  private func check(_ table: FollowedTable, _ database: SourceDatabase) async throws {
    try database.requirePrimary(try await database.run(["SELECT pg_is_in_recovery()::text"]).first?.first != "false")
    let row = try await database.run([table.check]).first ?? []
    if let objection = table.objection(to: row) { throw CannotFollow(description: objection) }
  }

  private func compare(_ comparison: Comparison) async {
    let result: Result<Comparison.Outcome, any Error>
    do {
      result = .success(try await comparison.run())
    } catch {
      result = .failure(error)
    }
    state.withLock { $0.compared = result }
  }

  /// Handles the result of a comparison.
  private func ended(
    _ compared: Result<Comparison.Outcome, any Error>, _ store: FollowedStore, _ plan: inout FollowPlan,
    _ unknown: Set<KeyID>, _ waiting: inout Set<KeyID>, _ now: ContinuousClock.Instant
  ) async throws {
    let outcome: Comparison.Outcome
    do {
      outcome = try compared.get()
    } catch let error where isOfList(error) {
      notes.problem(.comparison, "\(error)")
      plan.failed(now: now)
      return
    }
    warn(of: outcome)
    if !unknown.isEmpty {
      _ = try await store.apply(
        unknown.map { KeyEdit(key: $0, kind: .setState(.revoked), allowing: .reactivate) })
    }
    // While no version is known, the follower has carried out nothing.
    let isAlone = !hasFollowed || !store.hasPosition
    // During later comparisons the follower itself notices other programs' changes. It can't tell them from the
    // comparison's changes, so another comparison follows these as well.
    let isDoubtful = isAlone ? outcome.hasOtherVersions : outcome.changed > 0
    if isDoubtful { plan.doubtLater(now: now) }
    plan.ended(overtaken: outcome.overtaken > 0, now: now)
    if outcome.overtaken == 0 {
      notes.resolved(.rows, "all rows of the source can be read again")
      if !hasFollowed { waiting = outcome.waiting }
      try await hasCompared(store, outcome, isAlone: isAlone)
    }
    if !isAlone, outcome.changed > 0 {
      try await store.check()
      _ = store.takeOthersChanges()
    }
  }

  /// Maximum unknown keys that are remembered during a comparison. With more keys, another comparison follows.
  private static let unknownLimit = 100_000

  /// Carries out changes from the outbox, and marks the store.
  /// - Returns: Whether the outbox had no more changes.
  private func carryOutChanges(
    _ store: FollowedStore, _ table: FollowedTable, _ database: SourceDatabase, _ claim: inout OutboxClaim,
    _ plan: inout FollowPlan, _ unknown: inout Set<KeyID>, _ waiting: inout Set<KeyID>, _ clock: ContinuousClock
  ) async throws -> Bool {
    let moment = try await store.marks.time()
    let batch = try OutboxBatch(try await database.run([table.waitingChanges]))
    try database.requirePrimary(batch.isStandby)
    try claim.requireHolds(batch)
    if !batch.isEmpty {
      let missing: [KeyID]
      do {
        missing = try await store.carryOut(batch)
        notes.resolved(.damage, "all changes of the source can be carried out again")
      } catch let damaged as DamagedRecord {
        notes.problem(.damage, "\(damaged). Until this is done, \(SourceFollower.consequence)")
        // The changes stay in the outbox. New changes are read together with them.
        try await Task.sleep(for: options.markEvery, clock: clock)
        return false
      }
      if plan.isComparing {
        unknown.formUnion(missing)
        for change in batch.changes where !change.isDeleted { unknown.remove(change.row.key) }
        if unknown.count > Self.unknownLimit {
          unknown = []
          plan.doubt(now: clock.now)
        }
      }
      do {
        try await confirmation.require(store.connection, layout)
        notes.resolved(.confirmation, "changes are confirmed again")
      } catch let missing as ChangeConfirmation.Missing {
        notes.problem(.confirmation, "\(missing)")
        // The changes stay in the outbox. They are carried out again, and confirmed together with the next changes.
        try await Task.sleep(for: options.markEvery, clock: clock)
        return false
      }
    }
    if !batch.problems.isEmpty {
      notes.problem(
        .rows,
        "rows of the source can't be read: \(batch.problems.joined(separator: "; ")). Until they are correct, "
          + SourceFollower.consequence)
    }
    if batch.wasTruncated || !batch.problems.isEmpty { plan.doubt(now: clock.now) }
    waiting.subtract(batch.changes.map(\.row.key))
    if batch.isComplete, !waiting.isEmpty {
      // A follower of an earlier build deleted these changes after the comparison began, or somebody did so by hand.
      waiting = []
      plan.doubt(now: clock.now)
    }
    func doubtOthersChanges() {
      guard store.takeOthersChanges() else { return }
      // During a comparison the new versions may be the comparison's own changes. The next comparison shows whether
      // they were.
      if !plan.isComparing { notes.notice("another program changed the store: comparing it with the source") }
      plan.doubtLater(now: clock.now)
    }
    // Changes are deleted, and the store is marked, only after the outbox is tied to it.
    if store.hasPosition { try await claim.bind() }
    // Another program may have changed the store before the changes of this batch. Then the store isn't marked.
    doubtOthersChanges()
    if plan.isEqual, batch.isComplete {
      try await store.mark(moment)
    } else {
      try await store.check()
    }
    doubtOthersChanges()
    if !batch.isEmpty { try await database.run(table.removal, numbers: batch.numbers, texts: [claim.session]) }
    return batch.isComplete
  }
}
