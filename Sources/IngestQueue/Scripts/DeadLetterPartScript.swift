internal import Hiredis
internal import RedisClient

/// Reads a part of a dead letter's element: dead_letter_part.lua.
struct DeadLetterPartScript: ScriptCall {
  static let script = RedisScript(name: "dead letter's part", source: LuaScripts.deadLetterPart)

  let layout: QueueLayout
  let entry: DeadLetter.Entry
  /// In bytes.
  let offset: Int
  /// Maximum bytes.
  let bytes: Int

  var keys: [String] { [layout.dead] }
  var arguments: [any RedisArgument] { ["\(entry)", offset, bytes] }

  /// - Returns: Nil if the dead letter is gone.
  func read(_ reply: RedisReply) throws -> [UInt8]? { try reply.bytesOrNull() }
}
