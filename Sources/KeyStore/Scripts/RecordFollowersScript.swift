import Hiredis
import RedisClient

/// Records that this number of replicas was seen, unless a greater number is recorded: record_followers.lua.
struct RecordFollowersScript: ScriptCall {
  static let script = RedisScript(name: "recordFollowers", source: LuaScripts.recordFollowers)

  let layout: StoreLayout
  let followers: Int

  var keys: [String] { [layout.followers] }
  var arguments: [any RedisArgument] { [followers] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
