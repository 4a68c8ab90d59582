// Records of revoked keys are kept so that a refusal can give the reason, but not for ever. Purge only keys that no
// client sends any more: if a client sends one again, the answer is "unknown" (401) instead of "revoked" (403).

import KeyReplica
import NIOCore
public import RedisClient

/// Deletes records of keys that were revoked long ago.
public struct Purge: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let writer: KeyStoreWriter

  public init(connection: RedisConnection, layout: StoreLayout) {
    self.connection = connection
    self.layout = layout
    writer = KeyStoreWriter(connection: connection, layout: layout)
  }

  /// Number of buckets that are read at once.
  private static let step = 32

  /// How many keys were revoked before a time.
  /// - Parameters:
  ///   - moment: Seconds since 1970.
  ///   - progress: Called with the number of buckets read so far.
  /// - Throws: Any failed read, including an unreadable record.
  public func count(revokedBefore moment: Int64, progress: (Int) -> Void) async throws -> Int {
    var count = 0
    try await eachStep(progress) { count += try await candidates($0, moment).count }
    return count
  }

  /// Removes these keys' records. A key that is put again during the purge keeps its record.
  /// - Parameters:
  ///   - moment: Seconds since 1970.
  ///   - progress: Called with the number of buckets done so far.
  /// - Returns: Nil if there were none.
  /// - Throws: Some records may have been removed then. Repeating it is harmless and finishes it.
  public func run(revokedBefore moment: Int64, progress: (Int) -> Void) async throws -> EditOutcome? {
    var total: EditOutcome?
    try await eachStep(progress) { buckets in
      var rest = try await candidates(buckets, moment)[...]
      while !rest.isEmpty {
        let batch = Array(rest.prefix(KeyStoreWriter.batchLimit))
        rest = rest.dropFirst(batch.count)
        let outcome = try await writer.purge(batch, revokedBefore: moment).get()
        // Damaged after it was read as a candidate.
        if let index = outcome.results.firstIndex(where: { $0.kind == .damaged }) {
          throw DamagedRecord(key: batch[index])
        }
        total = total.map { $0 + outcome } ?? outcome
      }
    }
    return total
  }

  private func eachStep(_ progress: (Int) -> Void, _ body: (Range<Int>) async throws -> Void) async throws {
    for first in stride(from: 0, to: StoreLayout.bucketCount, by: Self.step) {
      let buckets = first..<min(first + Self.step, StoreLayout.bucketCount)
      try await body(buckets)
      progress(buckets.upperBound)
    }
  }

  private func candidates(_ buckets: Range<Int>, _ moment: Int64) async throws -> [KeyID] {
    let replies = try await connection.execute(buckets.map(layout.bucketCommand), within: .seconds(30))
    var keys: [KeyID] = []
    for (index, reply) in zip(buckets, replies) {
      for (name, value) in try layout.rawBucket(from: reply).fields {
        guard let key = KeyID(bytes: name) else {
          throw UnreadableStore("bucket \(index) has a field that isn't a key ID")
        }
        let record = try KeyRecord(decoding: value, of: key)
        if record.state == .revoked, record.since < moment { keys.append(key) }
      }
    }
    return keys
  }
}
