import Hiredis
import RedisClient

/// Records that so many replicas were seen to follow, unless it were more before: record_followers.lua.
struct RecordFollowersScript: ScriptCall {
  static let script = RedisScript(name: "recordFollowers", source: LuaScripts.recordFollowers)

  let layout: StoreLayout
  let followers: Int

  var keys: [String] { [layout.followers] }
  var arguments: [any RedisArgument] { [followers] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
