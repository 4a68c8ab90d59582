// Applies whole lists to the store: `import` adds and changes the listed keys, `sync` makes the store equal to the
// list. Both are planned first, so that an operator can agree to the losses. Then no further losses are allowed.

import Foundation
import Hiredis
import KeyReplica
import NIOCore
public import RedisClient

/// Applies a key list to the store, one partition after the other.
public struct Publication {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let writer: KeyStoreWriter
  private let terms: ListConsequences.Terms

  /// Maximum batches in flight: enough that Redis never waits for the publisher.
  private static let batchesInFlight = 4

  public init(connection: RedisConnection, layout: StoreLayout, terms: ListConsequences.Terms) {
    self.connection = connection
    self.layout = layout
    self.terms = terms
    writer = KeyStoreWriter(connection: connection, layout: layout)
  }

  /// The losses that ``carryOut(_:agreed:progress:)`` would cause. Changes nothing.
  public func plan(for list: KeyListSpool) async throws -> ListConsequences {
    if let epoch = terms.epoch {
      guard case .found(let position) = try await connection.storePosition(layout), position.epoch == epoch else {
        throw AnotherHistory(isBegun: false)
      }
    }
    var consequences = ListConsequences()
    let now = try await time()
    consequences.now = now
    var dates = ChangeDates(terms.version)
    for partition in 0..<KeyListSpool.partitionCount {
      var entries = Self.byKey(try list.entries(ofPartition: partition))
      let (records, damaged) = try await storedRecords(ofPartition: partition)
      try await dates.prepare(for: records, connection, layout)
      for (key, record) in records {
        let entry = entries.removeValue(forKey: key)
        guard !terms.untouched.contains(key) else {
          consequences.note(record, nil)
          continue
        }
        let isNewer = dates.isNewer(key, record)
        let kind = ListConsequences.kind(of: record, listed: entry, isNewer: isNewer, at: now, terms)
        consequences.note(record, kind)
        if let effect = ListEffects.kind(of: record, listed: entry, isNewer: isNewer, at: now, terms) {
          consequences.effects.note(effect, key, entry?.account ?? record.account)
        }
      }
      for (key, entry) in entries where !terms.untouched.contains(key) {
        consequences.effects.note(damaged.contains(key) ? .damaged : .added, key, entry.account)
      }
    }
    return consequences
  }

  /// The store was rebuilt, restored or replaced after the start of the list.
  public struct AnotherHistory: Error, Sendable, CustomStringConvertible {
    let isBegun: Bool
    public var description: String {
      "the store was rebuilt, restored or replaced since the list began, so its versions can't be compared. "
        + (isBegun ? "Some of the list was applied." : "Nothing was changed in the store.")
        + " Export the list again, and run the command again"
    }
  }

  /// Finds the keys that were changed after the start of the list.
  private struct ChangeDates {
    private let version: UInt64?
    /// From the change stream. It is read only if a record doesn't have the version of its last change.
    private var changed: Set<KeyID>?

    init(_ version: UInt64?) { self.version = version }

    mutating func prepare(
      for records: [(KeyID, KeyRecord)], _ connection: RedisConnection, _ layout: StoreLayout
    ) async throws {
      guard let version, changed == nil, records.contains(where: { $0.1.version == nil }) else { return }
      changed = try await connection.keysChanged(after: version, layout)
    }

    func isNewer(_ key: KeyID, _ record: KeyRecord) -> Bool {
      guard let version else { return false }
      return record.version.map { $0 > version } ?? changed?.contains(key) ?? false
    }

    /// The permission that an edit needs for a record without a version.
    func permission(_ key: KeyID, _ record: KeyRecord) -> KeyEdit.Permissions {
      version != nil && record.version == nil && !isNewer(key, record) ? .olderThanBasis : []
    }
  }

  /// The list would cause more losses than agreed, because the store was changed by another publisher.
  public struct MoreThanAgreed: Error, Sendable, CustomStringConvertible {
    public let agreed: Int
    public var description: String {
      "the store changed while the list was applied: more than the planned \(agreed) keys would be taken out of service or "
        + "moved. Part of the list was applied; run the command again"
    }
  }

  /// The result of applying a list.
  public struct Outcome: Sendable {
    /// Nil if there was nothing to do.
    public var edits: EditOutcome?
    /// The losses that the list caused.
    public var consequences = ListConsequences()
  }

  /// Adds and changes all listed keys, and revokes the others if the terms say so.
  /// - Parameters:
  ///   - agreed: The plan that was agreed: no more keys than in it are revoked, suspended or moved.
  ///   - lease: Prevents other publishers from applying a list at the same time. Once it has ended nothing more is
  ///     changed.
  ///   - onlyDifferences: Sends no edits for keys whose records in the store already match the list. Such keys aren't
  ///     counted in the outcome.
  ///   - progress: Called with the number of entries that are in the store.
  /// - Throws: Some of the list may have been applied then. Repeating it is harmless and finishes it.
  public func carryOut(
    _ list: KeyListSpool, agreed: ListConsequences, under lease: ListLease? = nil,
    onlyDifferences: Bool = false, progress: (Int) -> Void = { _ in }
  ) async throws -> Outcome {
    var outcome = Outcome()
    let now = try await time()
    outcome.consequences.now = now
    var dates = ChangeDates(terms.version)
    var done = 0
    for partition in 0..<KeyListSpool.partitionCount {
      let listed = try list.entries(ofPartition: partition).filter { !terms.untouched.contains($0.key) }
      let entries = Self.byKey(listed)
      // Calculated again from the current records: the script gets the permissions for each key.
      var permissions: [KeyID: KeyEdit.Permissions] = [:]
      var unlisted: [KeyEdit] = []
      var same: Set<KeyID> = []
      let (records, _) = try await storedRecords(ofPartition: partition)
      try await dates.prepare(for: records, connection, layout)
      for (key, record) in records where !terms.untouched.contains(key) {
        let isNewer = dates.isNewer(key, record)
        let kind = ListConsequences.kind(of: record, listed: entries[key], isNewer: isNewer, at: now, terms)
        if onlyDifferences,
          ListEffects.kind(of: record, listed: entries[key], isNewer: isNewer, at: now, terms) == .unchanged
        {
          same.insert(key)
        }
        outcome.consequences.note(record, kind)
        // A key that has ended by itself isn't a loss, but its record may say that it is active.
        let mayEnd = kind != nil || record.hasExpired(at: now)
        let permission = dates.permission(key, record).union(mayEnd ? [.end, .move] : [])
        if !permission.isEmpty { permissions[key] = permission }
        if terms.revokesUnlisted, record.state != .revoked, entries[key] == nil {
          unlisted.append(KeyEdit(key: key, kind: .setState(.revoked), allowing: permission.union(.end)))
        }
      }
      guard outcome.consequences.count <= agreed.count else { throw MoreThanAgreed(agreed: agreed.count) }
      let edits = listed.filter { !same.contains($0.key) }.map { entry in
        var allowing = permissions[entry.key] ?? []
        if terms.reactivates { allowing.insert(.reactivate) }
        let state = entry.state ?? (terms.reactivates ? .active : nil)
        return KeyEdit(
          key: entry.key, kind: .put(account: entry.account, state), allowing: allowing, revision: entry.revision,
          expiry: entry.expiry)
      }
      try await apply(edits + unlisted, under: lease, to: &outcome.edits) {
        done += $0
        progress(min(done, list.entryCount))
      }
    }
    return outcome
  }

  /// Redis's time in seconds since 1970. If Redis denies TIME, this computer's: here the time decides only which
  /// effects an operator is asked about.
  private func time() async throws -> Int64 {
    do {
      return Int64(try await SourceMarks(connection: connection, layout: layout).time() / 1_000_000)
    } catch is RedisServerError {
      return Int64(Date().timeIntervalSince1970)
    }
  }

  private static func byKey(_ entries: [KeyListEntry]) -> [KeyID: KeyListEntry] {
    Dictionary(entries.map { ($0.key, $0) }) { first, _ in first }
  }

  /// The readable records of a partition, and the keys of the others. The script leaves those as they are.
  private func storedRecords(
    ofPartition partition: Int
  ) async throws -> (records: [(KeyID, KeyRecord)], damaged: Set<KeyID>) {
    let first = partition * KeyListSpool.bucketsPerPartition
    let indices = first..<(first + KeyListSpool.bucketsPerPartition)
    let replies = try await connection.execute(indices.map(layout.bucketCommand), within: .seconds(30))
    var records: [(KeyID, KeyRecord)] = []
    var damaged: Set<KeyID> = []
    for (index, reply) in zip(indices, replies) {
      for (name, value) in try layout.rawBucket(from: reply).fields {
        guard let key = KeyID(bytes: name) else {
          throw UnreadableStore("bucket \(index) has a field that isn't a key ID")
        }
        do throws(DamagedRecord) {
          records.append((key, try KeyRecord(decoding: value, of: key)))
        } catch {
          // A store with such a record can't be made equal to a list.
          if terms.revokesUnlisted { throw error }
          damaged.insert(key)
        }
      }
    }
    return (records, damaged)
  }

  private func apply(
    _ edits: [KeyEdit], under lease: ListLease?, to total: inout EditOutcome?, progress: (Int) -> Void
  ) async throws {
    var inFlight: [(count: Int, outcome: EventLoopFuture<EditOutcome>)] = []
    var rest = edits[...]
    while !rest.isEmpty || !inFlight.isEmpty {
      // The first batch is sent alone. It may have to create the store and load the script. Then it is sent again,
      // after any other batches in flight.
      while inFlight.count < (total == nil ? 1 : Self.batchesInFlight), !rest.isEmpty {
        let batch = Array(rest.prefix(KeyStoreWriter.batchLimit))
        rest = rest.dropFirst(batch.count)
        inFlight.append((batch.count, writer.submit(batch, basedOn: terms.version, under: lease)))
      }
      let (count, future) = inFlight.removeFirst()
      let outcome = try await future.get()
      if let epoch = terms.epoch, outcome.epoch != epoch { throw AnotherHistory(isBegun: true) }
      total = total.map { $0 + outcome } ?? outcome
      progress(count)
    }
  }
}
