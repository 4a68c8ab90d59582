// Makes the store equal to a whole list of the source's keys. The steps and the guard are those of `sync`: a list that
// would take more keys out of service than allowed isn't applied.
//
// The source decides, even about keys that another program changed in the store: a key that is revoked in the store and
// active in the source becomes active, and a key that isn't in the source is revoked. A key that the follower changed
// after the start of the list stays unchanged, because that change is newer than the list. A comparison also skips keys
// that have changes in the outbox. The application made each of these changes, and the follower carries them out one by
// one; the guard is for losses that the application didn't ask for.

import KeyReplica
import KeyStore
import NIOCore
import RedisClient

/// A comparison of the whole store with the whole source.
struct Comparison: Sendable {
  let connection: RedisConnection
  let layout: StoreLayout
  let lease: ListLease
  let supply: ListSupply
  /// The guard's limit, in percent of the active keys.
  let maxRevoked: Double
  /// The name that a store without a name gets; nil for none.
  let storeName: String?
  let confirmation: ChangeConfirmation

  /// The result of a comparison.
  struct Outcome: Sendable {
    /// Redis's time before the list was read.
    var moment: UInt64
    /// The store's position after the comparison; nil if there is no store, because there are no keys.
    var position: StorePosition?
    var keys: Int
    var changed: Int
    var added: Int
    var ended: Int
    /// Keys that were suspended or revoked in the store, and that the source made active.
    var reactivated: Int
    var reactivatedExamples: [ListEffects.Example]
    /// Keys that another program changed at the same time. If there are any, another comparison is needed.
    var overtaken: Int
    /// Whether the store has other new versions than the changes of this comparison: another program changed the store
    /// meanwhile, or the follower carried out changes. The comparison may have read the changed keys before.
    var hasOtherVersions: Bool
    /// Keys that were left unchanged because they have changes in the outbox.
    var waiting: Set<KeyID>
  }

  /// The list would take more keys out of service than allowed. Nothing was changed.
  struct Refused: Error, Sendable, CustomStringConvertible {
    let consequences: ListConsequences
    let maxRevoked: Double

    var description: String {
      let kinds = ListConsequences.Kind.allCases.compactMap { kind -> String? in
        guard consequences[kind] > 0 else { return nil }
        let words =
          switch kind {
          case .listedRevoked: "are revoked in the source"
          case .listedSuspended: "are suspended in the source"
          case .unlisted: "aren't in the source"
          case .suspendedUnlisted: "are suspended in the store and aren't in the source"
          case .moved: "belong to another account in the source"
          case .listedExpired: "have already expired in the source"
          }
        let accounts = consequences.examples(of: kind).map { "\"\($0)\"" }.joined(separator: ", ")
        return "\(consequences[kind]) \(words) (accounts: \(accounts))"
      }
      return "the source would take \(consequences.count) of \(consequences.active) active keys out of service or to "
        + "another account, more than \(maxRevoked)%: \(kinds.joined(separator: "; ")). The store is left as it "
        + "is, and \(SourceFollower.consequence). If the source is right, restart the follower with --max-revoked \(consequences.neededPercent)"
    }
  }

  func run() async throws -> Outcome {
    let moment = try await SourceMarks(connection: connection, layout: layout).time()
    var terms = ListConsequences.Terms(revokesUnlisted: true, reactivates: true, version: 0)
    if let start = try await connection.followedPosition(layout) {
      (terms.version, terms.epoch) = (start.version, start.epoch)
    }
    let (list, waiting) = try await supply.read()
    terms.untouched = waiting
    let publication = Publication(connection: connection, layout: layout, terms: terms)
    let plan = try await publication.plan(for: list)
    guard plan.isWithin(percent: maxRevoked) else { throw Refused(consequences: plan, maxRevoked: maxRevoked) }
    let ending: [ListEffects.Kind] = [.suspended, .revoked, .expired]
    var outcome = Outcome(
      moment: moment, position: nil, keys: list.entryCount, changed: 0,
      added: plan.effects[.added], ended: ending.reduce(0) { $0 + plan.effects[$1] },
      reactivated: plan.effects[.activated], reactivatedExamples: plan.effects.examples(of: .activated), overtaken: 0,
      hasOtherVersions: false, waiting: waiting)
    // A store that doesn't exist yet begins with its first key.
    if let storeName, plan.effects.changed > 0 || terms.epoch != nil {
      _ = try await KeyStoreWriter(connection: connection, layout: layout).name(storeName)
    }
    if plan.effects.changed > 0 {
      let edits = try await publication.carryOut(
        list, agreed: plan, under: lease, onlyDifferences: true
      ).edits
      outcome.changed = edits?.changed ?? 0
      // A record that was damaged since the plan, too: the next comparison says which.
      outcome.overtaken = (edits?[.otherAccount] ?? 0) + (edits?[.unagreed] ?? 0) + (edits?[.damaged] ?? 0)
      try await confirmation.require(connection, layout)
    }
    outcome.position = try await connection.followedPosition(layout)
    if let end = outcome.position {
      outcome.hasOtherVersions = end.version != (terms.version ?? 0) + UInt64(outcome.changed)
    }
    return outcome
  }
}

extension RedisConnection {
  /// The position of a follower's store; nil if there is no store.
  /// - Throws: ``FollowProblem`` if a follower can't write to the store.
  func followedPosition(_ layout: StoreLayout) async throws -> StorePosition? {
    switch try await storePosition(layout) {
    case .found(let position): return position
    case .noStore: return nil
    case .incompatible(let why): throw FollowProblem(why)
    }
  }
}

/// A reason why a follower can't follow now, as text.
struct FollowProblem: Error, Sendable, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// How a follower waits for replicas to confirm its changes.
struct ChangeConfirmation: Sendable {
  /// Whether the primary is found through Sentinels or a cluster, which may promote another server.
  let isWatched: Bool
  /// Maximum wait for the replicas.
  let limit: Duration

  /// Not all declared replicas have the changes.
  struct Missing: Error, Sendable, CustomStringConvertible {
    let objection: String
    var description: String {
      "changes are in the primary, but aren't confirmed: \(objection). A failover could lose them, so "
        + "the source mark isn't renewed"
    }
  }

  /// Waits until no failover can lose the changes so far.
  /// - Throws: ``Missing``, or the error of a failed request.
  func require(_ connection: RedisConnection, _ layout: StoreLayout) async throws {
    let replication = Replication(connection: connection, layout: layout, isWatched: isWatched)
    let confirmation = try await replication.confirm(within: TimeAmount(limit))
    if let objection = confirmation.objection { throw Missing(objection: objection) }
  }
}
