import Hiredis
import RedisClient

/// Writes a key that another connection tries to read: meeting.lua.
struct MeetingScript: ScriptCall {
  static let script = RedisScript(name: "meeting", source: LuaScripts.meeting)

  let key: String
  let milliseconds: Int

  var keys: [String] { [key] }
  var arguments: [any RedisArgument] { [milliseconds] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
