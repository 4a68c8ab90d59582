import Hiredis
import KeyReplica
import RedisClient

/// Makes the permitted ones of many changes: change.lua, or end.lua, which also works on a full Redis.
struct ChangeScript: ScriptCall {
  static let script = RedisScript(name: "change", source: LuaScripts.change)
  static let end = RedisScript(name: "end", source: LuaScripts.end)

  let script: RedisScript
  let keys: [String]
  let arguments: [any RedisArgument]
  private let count: Int

  /// - Parameters:
  ///   - version: The version that the edits are based on: a key that was changed after it is left unchanged.
  ///   - lease: For the edits of a list: the list's lease.
  ///   - now: Seconds since 1970.
  ///   - changesKept: How many changes the stream keeps.
  init(
    _ edits: [KeyEdit], basedOn version: UInt64?, under lease: ListLease?, layout: StoreLayout, now: Int64,
    changesKept: Int
  ) {
    var buckets = TouchedBuckets(layout)
    var arguments: [any RedisArgument] = [
      StoreLayout.schema, StoreLayout.bucketCount, now, changesKept, version.map { "\($0)" } ?? "",
      lease?.beginning ?? "",
    ]
    arguments.reserveCapacity(arguments.count + 8 * edits.count)
    // Suspending and revoking must work on a full Redis. Adding keys must not.
    var onlyEnds = true
    for edit in edits {
      let bucket = edit.key.bucket(of: StoreLayout.bucketCount)
      let (operation, letter, account): (Operation, String, String)
      switch edit.kind {
      case .put(let owner, let state):
        (operation, letter, account) = (.put, state.map { String($0.letter) } ?? "", owner)
        onlyEnds = false
      case .setState(let state):
        (operation, letter, account) = (.setState, String(state.letter), edit.onlyOf ?? "")
        if state == .active { onlyEnds = false }
      case .check(let state, let owner):
        (operation, letter, account) = (.check, String(state.letter), owner)
      }
      arguments +=
        [
          operation.rawValue + edit.allowing.letters, buckets.position(of: bucket), bucket, edit.key.bytes, letter,
          account, edit.revision.map { "\($0)" } ?? "", edit.expiry.argument,
        ] as [any RedisArgument]
    }
    script = onlyEnds ? Self.end : Self.script
    keys = buckets.keys + (lease == nil ? [] : [layout.lease])
    self.arguments = arguments
    count = edits.count
  }

  private enum Operation: String {
    case put = "p"
    case setState = "s"
    case check = "k"
  }

  func read(_ reply: RedisReply) throws -> EditOutcome { try EditOutcome(reply, of: count) }
}

extension ExpiryChange {
  /// As the script takes it.
  fileprivate var argument: String {
    switch self {
    case .keep: ""
    case .remove: "-"
    case .set(let seconds): "\(seconds)"
    }
  }
}

extension KeyEdit.Permissions {
  fileprivate var letters: String {
    (contains(.end) ? "e" : "") + (contains(.move) ? "m" : "") + (contains(.reactivate) ? "r" : "")
      + (contains(.olderThanBasis) ? "o" : "") + (contains(.dependent) ? "d" : "")
  }
}

extension EditOutcome {
  /// Reads the replies of change.lua, end.lua and purge.lua to this number of edits.
  init(_ reply: RedisReply, of count: Int) throws {
    let items = try reply.array()
    guard items.count == 4, let version = UInt64(try items[1].string()), let digest = Digest(hex: try items[3].string())
    else { throw UnreadableStore("expected epoch, version, outcomes and digest, got \(reply.shape)") }
    let letters = try items[2].bytes()
    guard letters.count == 2 * count else {
      throw UnreadableStore("expected \(count) outcomes of two letters, got \(letters.count) bytes")
    }
    let results = try stride(from: 0, to: letters.count, by: 2).map { index in
      let (kind, state) = (Unicode.Scalar(letters[index]), Unicode.Scalar(letters[index + 1]))
      guard let kind = EditResult.Kind(rawValue: kind) else {
        throw UnreadableStore("expected the letter of an outcome, got \"\(kind)\"")
      }
      return EditResult(kind: kind, state: KeyState(letter: String(state)))
    }
    self.init(epoch: try items[0].string(), version: version, digest: digest, results: results)
  }
}
