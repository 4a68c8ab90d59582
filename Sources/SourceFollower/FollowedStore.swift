// A follower's access to the key store. Every write needs the follower's lease. The last known position is kept, so
// that a restored or replaced store is noticed.

import Hiredis
import KeyReplica
import KeyStore
import RedisClient
import Synchronization

/// The store that a session writes to.
struct FollowedStore: Sendable {
  let connection: RedisConnection
  let lease: ListLease
  let marks: SourceMarks
  private let writer: KeyStoreWriter
  private let seen = Seen()

  /// The last known position.
  private final class Seen: Sendable {
    struct State {
      var position: (epoch: String, version: UInt64, digest: Digest)?
      /// Whether another program changed the store.
      var hasOthers = false
    }

    let state = Mutex(State())
  }

  init(_ connection: RedisConnection, _ layout: StoreLayout, _ lease: ListLease) {
    (self.connection, self.lease) = (connection, lease)
    marks = SourceMarks(connection: connection, layout: layout)
    writer = KeyStoreWriter(connection: connection, layout: layout)
  }

  /// Records the position at the end of a comparison, during which the follower carried out no changes.
  func isAt(_ position: StorePosition) throws {
    try seen.state.withLock { seen in
      if let former = seen.position {
        guard former.epoch == position.epoch else { throw StoreWentBack(from: former.epoch, to: position.epoch) }
        if position.version == former.version, position.digest != former.digest {
          throw StoreWentBack(otherContentAt: former.version)
        }
        guard position.version > former.version else { return }
      }
      seen.position = (position.epoch, position.version, position.digest)
    }
  }

  /// Whether any position is known.
  var hasPosition: Bool { position != nil }

  /// Records a position after this number of the follower's own changes.
  func isAt(_ position: StorePosition, after changes: Int) throws {
    try note(position.epoch, position.version, position.digest, changed: changes)
  }

  /// Records a position.
  /// - Parameter changed: How many of the changes since the last position the follower itself made.
  /// - Throws: ``StoreWentBack``.
  private func note(_ epoch: String, _ version: UInt64, _ digest: Digest, changed: Int = 0) throws {
    guard !epoch.isEmpty else { return }
    try seen.state.withLock { seen in
      if let former = seen.position {
        guard former.epoch == epoch else { throw StoreWentBack(from: former.epoch, to: epoch) }
        guard version >= former.version else { throw StoreWentBack(from: former.version, to: version) }
        if version == former.version, digest != former.digest { throw StoreWentBack(otherContentAt: version) }
        if version > former.version + UInt64(changed) { seen.hasOthers = true }
      }
      seen.position = (epoch, version, digest)
    }
  }

  /// Whether another program changed the store since the last call.
  func takeOthersChanges() -> Bool {
    seen.state.withLock { seen in
      defer { seen.hasOthers = false }
      return seen.hasOthers
    }
  }

  private var position: (epoch: String, version: UInt64, digest: Digest)? { seen.state.withLock { $0.position } }

  /// Marks the store, unless there is no store, because there never were any keys, or another program has changed it.
  func mark(_ moment: UInt64) async throws {
    guard let (epoch, version, digest) = position else { return }
    let outcome = try await marks.mark(moment, under: lease, of: epoch, at: version, digest: digest)
    try note(outcome.epoch, outcome.version, outcome.digest)
  }

  /// Checks that the store hasn't gone back, without marking it.
  /// - Throws: ``StoreWentBack``.
  func check() async throws {
    guard position != nil else { return }
    guard case .found(let now) = try await marks.read().position else {
      throw StoreWentBack(description: "the store is gone or is being rebuilt: comparing it with the source")
    }
    try note(now.epoch, now.version, now.digest)
  }

  /// Carries out edits.
  /// - Returns: The result of each edit, in their order.
  func apply(_ edits: [KeyEdit]) async throws -> [EditResult] {
    var results: [EditResult] = []
    var rest = edits[...]
    while !rest.isEmpty {
      let batch = Array(rest.prefix(KeyStoreWriter.batchLimit))
      rest = rest.dropFirst(batch.count)
      let outcome = try await writer.apply(batch, under: lease)
      try note(outcome.epoch, outcome.version, outcome.digest, changed: outcome.changed)
      results += outcome.results
    }
    return results
  }

  /// Carries out changes of the source.
  /// - Throws: ``KeyStore/DamagedRecord`` if a change met an unreadable record. All other changes were carried out.
  /// - Returns: Deleted keys that weren't in the store.
  func carryOut(_ batch: OutboxBatch) async throws -> [KeyID] {
    var refusal: (any Error)?
    var damaged: KeyID?
    func carryOut(_ edits: [KeyEdit]) async throws -> [EditResult] {
      let results = try await applyAnyRevision(edits)
      damaged = damaged ?? zip(edits, results).first { $0.1.kind == .damaged }?.0.key
      return results
    }
    do {
      _ = try await carryOut(batch.additions)
    } catch let error where RedisRefusal.isFull(error) {
      // A full Redis accepts no new keys, but keys can still be suspended and revoked.
      refusal = error
    }
    let ends = batch.ends
    let results = try await carryOut(ends)
    if let refusal { throw refusal }
    _ = try await carryOut(batch.records)
    if let damaged { throw DamagedRecord(key: damaged) }
    let deleted = Set(batch.changes.filter(\.isDeleted).map(\.row.key))
    return zip(ends, results).filter { $0.1.kind == .missing && deleted.contains($0.0.key) }.map(\.0.key)
  }

  /// Carries out edits, whatever revision the store's record has. If that revision is larger, the source was restored
  /// or another program wrote the key. The source decides, so the edit is repeated without a revision.
  private func applyAnyRevision(_ edits: [KeyEdit]) async throws -> [EditResult] {
    var results = try await apply(edits)
    let late = results.indices.filter { results[$0].kind == .olderRevision }
    guard !late.isEmpty else { return results }
    let again = late.map { index in
      var edit = edits[index]
      edit.revision = nil
      return edit
    }
    for (index, result) in zip(late, try await apply(again)) { results[index] = result }
    return results
  }
}
