internal import Hiredis
internal import RedisClient

/// Requeues dead letters as if they had never failed: requeue.lua.
struct RequeueScript: ScriptCall {
  static let script = RedisScript(name: "requeue dead letters", source: LuaScripts.requeue)

  let layout: QueueLayout
  /// After this number of bytes no further one is moved.
  let bytes: Int
  let letters: [Letter]

  struct Letter {
    let entry: DeadLetter.Entry
    /// The two lists of its account.
    let first: Int
    let second: Int
  }

  var keys: [String] {
    [layout.dead, layout.failures, layout.stats, layout.deadBytes, layout.bytes] + layout.pending
  }

  var arguments: [any RedisArgument] {
    [bytes, AccountShuffleShard.shortList] as [any RedisArgument]
      + letters.flatMap { ["\($0.entry)", $0.first, $0.second] as [any RedisArgument] }
  }

  /// - Returns: The result for each dead letter that was examined.
  func read(_ reply: RedisReply) throws -> [DeadLetterTally.Outcome] {
    try reply.array().map { try DeadLetterTally.Outcome($0) }
  }
}

extension DeadLetterTally.Outcome {
  /// The results of requeue.lua and discard.lua.
  init(_ reply: RedisReply) throws {
    self =
      switch try reply.integer() {
      case 1: .done
      case 0: .gone
      default: .unreadable
      }
  }
}
