// Whole lists into the store: `import` adds and changes the listed keys, `sync` makes the store equal to the list. Both
// are planned first, so that an operator can agree to the losses, and then no more is lost than that.

import KeyReplica
import NIOCore
public import RedisClient

/// Carries a key list into the store, one partition after the other.
public struct Publication {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let writer: KeyStoreWriter
  private let terms: ListConsequences.Terms

  /// Maximum batches in flight: enough that Redis never waits for us.
  private static let batchesInFlight = 4

  public init(connection: RedisConnection, layout: StoreLayout, terms: ListConsequences.Terms) {
    self.connection = connection
    self.layout = layout
    self.terms = terms
    writer = KeyStoreWriter(connection: connection, layout: layout)
  }

  /// The losses that ``carryOut(_:agreed:progress:)`` would cause. Changes nothing.
  public func plan(for list: KeyListSpool) async throws -> ListConsequences {
    var consequences = ListConsequences()
    for partition in 0..<KeyListSpool.partitionCount {
      let entries = Self.byKey(try list.entries(ofPartition: partition))
      for (key, record) in try await storedRecords(ofPartition: partition) {
        consequences.note(record, ListConsequences.kind(of: record, listed: entries[key], terms))
      }
    }
    return consequences
  }

  /// The list would cause more losses than the operator agreed to: the store has changed since.
  public struct MoreThanAgreed: Error, Sendable, CustomStringConvertible {
    public let agreed: Int
    public var description: String {
      "the store has changed since it was looked at: now more than \(agreed) keys would be taken out of service or moved. "
        + "Some of the list was applied; run it again"
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
  ///   - agreed: The agreed plan: no more keys than that are taken out of service or moved.
  ///   - progress: Called with the number of entries that are in the store.
  /// - Throws: With some of the list applied. Repeating it is harmless and finishes it.
  public func carryOut(
    _ list: KeyListSpool, agreed: ListConsequences, progress: (Int) -> Void = { _ in }
  ) async throws -> Outcome {
    var outcome = Outcome()
    var done = 0
    for partition in 0..<KeyListSpool.partitionCount {
      let listed = try list.entries(ofPartition: partition)
      let entries = Self.byKey(listed)
      // Found again for this write: the script is told for each key whether it may end.
      var ending: Set<KeyID> = []
      var unlisted: [KeyEdit] = []
      for (key, record) in try await storedRecords(ofPartition: partition) {
        let kind = ListConsequences.kind(of: record, listed: entries[key], terms)
        outcome.consequences.note(record, kind)
        if kind != nil { ending.insert(key) }
        if terms.revokesUnlisted, record.state != .revoked, entries[key] == nil {
          unlisted.append(KeyEdit(key: key, kind: .setState(.revoked), allowing: .end))
        }
      }
      guard outcome.consequences.count <= agreed.count else { throw MoreThanAgreed(agreed: agreed.count) }
      let edits = listed.map { entry in
        var allowing: KeyEdit.Permissions = ending.contains(entry.key) ? [.end, .move] : []
        if terms.reactivates { allowing.insert(.reactivate) }
        let state = entry.state ?? (terms.reactivates ? .active : nil)
        return KeyEdit(
          key: entry.key, kind: .put(account: entry.account, state), allowing: allowing, revision: entry.revision)
      }
      try await apply(edits + unlisted, to: &outcome.edits) {
        done += $0
        progress(min(done, list.entryCount))
      }
    }
    return outcome
  }

  private static func byKey(_ entries: [KeyListEntry]) -> [KeyID: KeyListEntry] {
    Dictionary(entries.map { ($0.key, $0) }) { first, _ in first }
  }

  /// The readable records of a partition. An unreadable one is useless; the list may overwrite it.
  private func storedRecords(ofPartition partition: Int) async throws -> [(KeyID, KeyRecord)] {
    let first = partition * KeyListSpool.bucketsPerPartition
    let indices = first..<(first + KeyListSpool.bucketsPerPartition)
    let replies = try await connection.execute(indices.map(layout.bucketCommand), within: .seconds(30))
    var records: [(KeyID, KeyRecord)] = []
    for (index, reply) in zip(indices, replies) {
      for (name, value) in try layout.rawBucket(from: reply).fields {
        guard let key = KeyID(bytes: name) else {
          throw UnreadableStore("bucket \(index) has a field that isn't a key id")
        }
        do {
          records.append((key, try KeyRecord(decoding: value)))
        } catch {
          // A list that must equal the store can't skip it. Only an import can replace it.
          if terms.revokesUnlisted { throw error }
        }
      }
    }
    return records
  }

  private func apply(
    _ edits: [KeyEdit], to total: inout EditOutcome?, progress: (Int) -> Void
  ) async throws {
    var inFlight: [(count: Int, outcome: EventLoopFuture<EditOutcome>)] = []
    var rest = edits[...]
    while !rest.isEmpty || !inFlight.isEmpty {
      // The first batch is sent alone. It may have to create the store and to load the script, and is then sent again,
      // behind any other batches in flight.
      while inFlight.count < (total == nil ? 1 : Self.batchesInFlight), !rest.isEmpty {
        let batch = Array(rest.prefix(KeyStoreWriter.batchLimit))
        rest = rest.dropFirst(batch.count)
        inFlight.append((batch.count, writer.submit(batch, basedOn: terms.version)))
      }
      let (count, future) = inFlight.removeFirst()
      let outcome = try await future.get()
      total = total.map { $0 + outcome } ?? outcome
      progress(count)
    }
  }
}
