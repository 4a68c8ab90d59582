import Hiredis
import RedisClient

/// Writes something for another connection to find: meeting.lua.
struct MeetingScript: ScriptCall {
  static let script = RedisScript(name: "meeting", source: LuaScripts.meeting)

  let key: String
  let milliseconds: Int

  var keys: [String] { [key] }
  var arguments: [any RedisArgument] { [milliseconds] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
