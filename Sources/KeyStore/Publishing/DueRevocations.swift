// Keys that will be revoked later: the old keys of rotations, which work for some time beside the new ones. The store
// has a list of them. The next publisher that runs after a key is due revokes it, so no process has to run until then.
//
// A key that was changed in the meantime isn't revoked, and is removed from the list: the change was a newer decision.
// A key whose record can't be read stays on the list.

import Hiredis
public import KeyReplica
import NIOCore
public import RedisClient

/// The list of keys that will be revoked later.
public struct DueRevocations: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout

  public init(connection: RedisConnection, layout: StoreLayout) {
    self.connection = connection
    self.layout = layout
  }

  /// Adds a key to the list, or changes its time.
  /// - Parameters:
  ///   - moment: Seconds since 1970.
  ///   - version: The store's version: a key that is changed after it isn't revoked.
  public func add(_ key: KeyID, at moment: Int64, unlessChangedAfter version: UInt64) async throws {
    _ = try await connection.execute(RedisCommand("HSET", layout.due, key.bytes, "\(moment) \(version)")).orThrow()
  }

  /// The counts of one call.
  public struct Outcome: Sendable, Hashable {
    public var revoked = 0
    /// Keys that were changed in the meantime and weren't revoked.
    public var left = 0
    /// Keys that aren't due yet.
    public var waiting = 0
    /// Due keys whose records can't be read. They stay on the list.
    public var damaged: [KeyID] = []
  }

  /// Revokes the keys that are due.
  /// - Parameter now: Seconds since 1970.
  /// - Throws: Some keys may have been revoked then. Repeating it is harmless and finishes it.
  public func carryOut(now: Int64) async throws -> Outcome {
    let writer = KeyStoreWriter(connection: connection, layout: layout)
    var outcome = Outcome()
    let items = try await connection.execute(RedisCommand("HGETALL", layout.due), within: .seconds(30)).array()
    for index in stride(from: 0, to: items.count - 1, by: 2) {
      let (name, value) = (try items[index].bytes(), try items[index + 1].string())
      let numbers = value.split(separator: " ")
      guard let key = KeyID(bytes: name), numbers.count == 2, let moment = Int64(numbers[0]),
        let version = UInt64(numbers[1])
      else { throw UnreadableStore("expected a key ID and \"seconds version\" in \(layout.due), got \"\(value)\"") }
      guard moment <= now else {
        outcome.waiting += 1
        continue
      }
      let edit = KeyEdit(key: key, kind: .setState(.revoked), allowing: .end)
      let result = try await writer.apply([edit], basedOn: version).results[0]
      switch result.kind {
      case .changed: outcome.revoked += 1
      case .damaged:
        outcome.damaged.append(key)
        continue
      default: outcome.left += 1
      }
      _ = try await connection.execute(RedisCommand("HDEL", layout.due, name)).orThrow()
    }
    return outcome
  }
}
