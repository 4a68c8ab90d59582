// Finds the keys that were changed after a version. Records have the version of their last change, except records that
// an older build wrote. For these the change stream is read, as far back as it goes.

import Hiredis
import KeyReplica
import NIOCore
import RedisClient

/// The change stream doesn't go back to the version of the list.
public struct ForgottenChanges: Error, Sendable, CustomStringConvertible {
  let version: UInt64
  public var description: String {
    "the list is too old: it began at version \(version), and the change stream no longer reaches back to that. "
      + "Nothing was changed. Export the list again, and run the command again"
  }
}

extension RedisConnection {
  /// The keys that were changed after a version, up to now.
  /// - Throws: ``ForgottenChanges``, or the error of a failed read.
  func keysChanged(after version: UInt64, _ layout: StoreLayout) async throws -> Set<KeyID> {
    guard case .found(let position) = try await storePosition(layout), position.version > version else { return [] }
    var keys: Set<KeyID> = []
    var end = "\(position.version)-0"
    var oldest = position.version + 1
    while oldest > version + 1 {
      let reply = try await execute(
        RedisCommand("XREVRANGE", layout.changes, end, "(\(version)-0", "COUNT", 1_000), within: .seconds(30))
      let entries = try reply.array()
      for entry in entries {
        let parts = try entry.array()
        guard parts.count == 2, let number = UInt64(try parts[0].string().prefix { $0 != "-" }) else {
          throw UnreadableStore("expected a change with an id, got \(entry.shape)")
        }
        // Each version is one change. A missing number was trimmed from the stream.
        guard number + 1 == oldest else { throw ForgottenChanges(version: version) }
        oldest = number
        let fields = try parts[1].array()
        for index in stride(from: 0, to: fields.count - 1, by: 2) where try fields[index].string() == "id" {
          if let key = KeyID(bytes: try fields[index + 1].bytes()) { keys.insert(key) }
        }
      }
      guard !entries.isEmpty else { throw ForgottenChanges(version: version) }
      end = "(\(oldest)-0"
    }
    return keys
  }
}
