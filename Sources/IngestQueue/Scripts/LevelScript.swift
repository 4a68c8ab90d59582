internal import Hiredis
internal import RedisClient

/// Reads how full a shard is: level.lua.
struct LevelScript: ScriptCall {
  static let script = RedisScript(name: "level", source: LuaScripts.level)

  let layout: QueueLayout
  /// Whether pushed bytes may be missing from the counts. Then Redis's estimate is used if it is larger.
  let mayMissBytes: Bool

  struct Reply {
    /// Lengths of the pending lists, in their order.
    let lengths: [Int64]
    let later: Int64
    /// Bytes in the pending lists and `later` together.
    let bytes: Int64
    let done: Int64
    let deadBytes: AccountBytes
    /// Bytes in each pending list, in their order.
    let listBytes: [Int64]
    let retries: AccountBytes
  }

  var keys: [String] {
    layout.pending + [layout.later, layout.stats, layout.dead, layout.deadBytes, layout.bytes, layout.laterBytes]
  }

  var arguments: [any RedisArgument] {
    [mayMissBytes ? 1 : 0, QueueBytes.perEntry, Int64.mostCounted, AccountBytes.mostAccounts]
  }

  func read(_ reply: RedisReply) throws -> Reply {
    let items = try reply.array()
    guard items.count == 7 else { throw UnexpectedReply(expected: "an array of 7", came: reply.shape) }
    let lengths = try items[0].array().map { try $0.count() }
    guard lengths.count == QueueLayout.lists else {
      throw UnexpectedReply(expected: "\(QueueLayout.lists) lengths", came: "\(lengths.count)")
    }
    let listBytes = try items[5].array().map { try $0.count() }
    guard listBytes.count == lengths.count else {
      throw UnexpectedReply(expected: "bytes of \(lengths.count) lists", came: "\(listBytes.count)")
    }
    return Reply(
      lengths: lengths, later: try items[1].count(), bytes: try items[2].count(), done: try items[3].count(),
      deadBytes: try AccountBytes(members: items[4].array()), listBytes: listBytes,
      retries: try AccountBytes(membersWithoutTotal: items[6].array()))
  }
}
