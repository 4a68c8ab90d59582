// Reads one record or all records from the store, for people and programs. Nodes don't use this: they mirror the store.

import Hiredis
public import KeyReplica
public import NIOCore
public import RedisClient

/// A key and its record.
public struct StoredKey: Sendable, Hashable {
  public var key: KeyID
  public var record: KeyRecord
}

extension RedisConnection {
  /// The record of one key; nil if the store has none.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError``, ``UnreadableStore`` if there is no store that
  ///   this build can read, ``DamagedRecord``. Never returns nil for an unreadable record.
  public func storedRecord(of key: KeyID, _ layout: StoreLayout) async throws -> KeyRecord? {
    try await requireStore(layout)
    let bucket = layout.bucket(key.bucket(of: StoreLayout.bucketCount))
    let reply = try await execute(RedisCommand("HGET", bucket, key.bytes))
    return try reply.bytesOrNull().map { try KeyRecord(decoding: $0, of: key) }
  }

  /// All keys of the store, a few buckets at a time. Each bucket is read in one step. A key that is changed during the
  /// read may be seen before or after the change.
  /// - Parameters:
  ///   - deadline: The end of the whole read; nil if each step has its own deadline only.
  ///   - body: Called with the keys of some buckets.
  /// - Returns: The number of unreadable records.
  /// - Throws: As ``storedRecord(of:_:)``, except that unreadable records are counted.
  public func eachStoredKey(
    _ layout: StoreLayout, until deadline: NIODeadline? = nil, _ body: ([StoredKey]) async throws -> Void
  ) async throws -> Int {
    try await requireStore(layout, within: deadline.map { try StepLimit.next(until: $0) })
    var unreadable = 0
    let step = 32
    for first in stride(from: 0, to: StoreLayout.bucketCount, by: step) {
      let indices = first..<min(first + step, StoreLayout.bucketCount)
      let replies = try await execute(indices.map(layout.bucketCommand), within: StepLimit.next(until: deadline))
      var keys: [StoredKey] = []
      for reply in replies {
        for (name, value) in try layout.rawBucket(from: reply).fields {
          do {
            guard let key = KeyID(bytes: name) else { throw UnreadableStore("a field isn't a key ID") }
            keys.append(StoredKey(key: key, record: try KeyRecord(decoding: value)))
          } catch {
            unreadable += 1
          }
        }
      }
      try await body(keys)
    }
    return unreadable
  }

  private func requireStore(_ layout: StoreLayout, within limit: TimeAmount? = nil) async throws {
    switch try layout.position(from: await execute(layout.positionCommand, within: limit)) {
    case .found: break
    case .noStore:
      throw UnreadableStore("there is no key store in this Redis under the namespace \(layout.namespace)")
    case .incompatible(let why): throw UnreadableStore(why)
    }
  }
}

/// The deadlines of the steps of a long piece of work.
enum StepLimit {
  /// The maximum wait for Redis's answer to the next step.
  /// - Parameter deadline: The end of the whole work; nil if there is none.
  /// - Throws: ``RedisClient/RedisError`` if the deadline has passed.
  static func next(until deadline: NIODeadline?) throws(RedisError) -> TimeAmount {
    guard let deadline else { return .seconds(30) }
    let rest = deadline - NIODeadline.now()
    guard rest > .zero else {
      throw RedisError(.deadlineExceeded(command: "the reading of the whole store"), outcome: .unknown)
    }
    return min(rest, .seconds(30))
  }
}
