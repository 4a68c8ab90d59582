// Whole lists into the store: `import` adds and changes what is listed, `sync` makes the store equal to the list.

import KeyReplica
public import RedisClient
import NIOCore

/// Carries a key list into the store, one partition after the other.
public struct Publication {
  /// What `sync` would do, found before anything is written.
  public struct Plan: Sendable, Hashable {
    /// Keys that aren't revoked in the store now.
    public var present = 0
    /// Of these, the ones that aren't on the list and would be revoked.
    public var toRevoke = 0
  }

  private let connection: RedisConnection
  private let layout: StoreLayout
  private let writer: KeyStoreWriter

  /// Batches that are on their way at once: enough that Redis never waits for us.
  private static let batchesInFlight = 4

  public init(connection: RedisConnection, layout: StoreLayout) {
    self.connection = connection
    self.layout = layout
    writer = KeyStoreWriter(connection: connection, layout: layout)
  }

  /// Adds and changes all that is listed; what isn't listed stays as it is.
  /// - Parameter progress: Called with the number of entries that are in the store.
  /// - Throws: With some of the list applied; doing it again is harmless and finishes it.
  public func importAll(of list: KeyListSpool, progress: (Int) -> Void) async throws -> EditOutcome? {
    try await announce(list.inactiveCount)
    var total: EditOutcome?
    var done = 0
    for partition in 0..<KeyListSpool.partitionCount {
      let edits = try list.entries(ofPartition: partition).map {
        KeyEdit(key: $0.key, kind: .put(account: $0.account, $0.state))
      }
      try await apply(edits, to: &total) {
        done += $0; progress(done)
      }
    }
    return total
  }

  /// What ``sync(with:by:progress:)`` would revoke.
  public func plan(for list: KeyListSpool) async throws -> Plan {
    var plan = Plan()
    for partition in 0..<KeyListSpool.partitionCount {
      let listed = Set(try list.entries(ofPartition: partition).map(\.key))
      let present = try await storedKeys(ofPartition: partition)
      plan.present += present.count
      plan.toRevoke += present.count { !listed.contains($0) }
    }
    return plan
  }

  /// The store holds more keys that aren't on the list than there were when it was planned: somebody else is writing.
  public struct MoreToRevoke: Error, Sendable, CustomStringConvertible {
    public let planned: Int
    public var description: String {
      "the store has changed since: now more than \(planned) keys would be revoked. Some of the list was applied; run sync again"
    }
  }

  /// Adds and changes all that is listed, and revokes what isn't.
  /// - Parameter plan: What was agreed to: no more keys than that are revoked.
  /// - Throws: With some of the list applied; doing it again is harmless and finishes it.
  public func sync(
    with list: KeyListSpool, by plan: Plan, progress: (Int) -> Void
  ) async throws -> EditOutcome? {
    try await announce(plan.toRevoke + list.inactiveCount)
    var total: EditOutcome?
    var done = 0
    var revoked = 0
    for partition in 0..<KeyListSpool.partitionCount {
      let entries = try list.entries(ofPartition: partition)
      let listed = Set(entries.map(\.key))
      let stale = try await storedKeys(ofPartition: partition).filter { !listed.contains($0) }
      revoked += stale.count
      guard revoked <= plan.toRevoke else { throw MoreToRevoke(planned: plan.toRevoke) }
      let edits =
        entries.map { KeyEdit(key: $0.key, kind: .put(account: $0.account, $0.state)) }
        + stale.map { KeyEdit(key: $0, kind: .setState(.revoked)) }
      try await apply(edits, to: &total) {
        done += $0; progress(min(done, list.entryCount))
      }
    }
    return total
  }

  /// What a list removes was looked at by somebody: it isn't to be taken for a mistake. Where there is no store yet there is nobody to tell.
  private func announce(_ removals: Int) async throws {
    guard removals > 0, case .found = try await connection.storePosition(layout) else { return }
    _ = try await writer.announce(removals: removals)
  }

  /// The keys of a partition that the store holds and that aren't revoked.
  private func storedKeys(ofPartition partition: Int) async throws -> [KeyID] {
    let first = partition * KeyListSpool.bucketsPerPartition
    let indices = first..<(first + KeyListSpool.bucketsPerPartition)
    let replies = try await connection.execute(indices.map(layout.bucketCommand), within: .seconds(30))
    var keys: [KeyID] = []
    for (index, reply) in zip(indices, replies) {
      for (name, value) in try layout.rawBucket(from: reply).fields {
        guard let key = KeyID(bytes: name) else {
          throw UnreadableStore("bucket \(index) has a field that isn't a key id")
        }
        if try KeyRecord(decoding: value).state != .revoked { keys.append(key) }
      }
    }
    return keys
  }

  private func apply(
    _ edits: [KeyEdit], to total: inout EditOutcome?, progress: (Int) -> Void
  ) async throws {
    var inFlight: [(count: Int, outcome: EventLoopFuture<EditOutcome>)] = []
    var rest = edits[...]
    while !rest.isEmpty || !inFlight.isEmpty {
      // The first by itself: it may have to begin the store, and to bring the script, and is sent again then, behind whatever else was on its
      // way.
      while inFlight.count < (total == nil ? 1 : Self.batchesInFlight), !rest.isEmpty {
        let batch = Array(rest.prefix(KeyStoreWriter.batchLimit))
        rest = rest.dropFirst(batch.count)
        inFlight.append((batch.count, writer.submit(batch)))
      }
      let (count, future) = inFlight.removeFirst()
      let outcome = try await future.get()
      total = total.map { $0 + outcome } ?? outcome
      progress(count)
    }
  }
}

extension EditOutcome {
  /// Both together; epoch and version are the later one's.
  static func + (left: EditOutcome, right: EditOutcome) -> EditOutcome {
    var sum = right
    sum.changed += left.changed
    sum.unchanged += left.unchanged
    sum.missing += left.missing
    return sum
  }
}
