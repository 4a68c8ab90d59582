internal import Hiredis
internal import RedisClient

/// Removes one member: forget.lua.
struct ForgetScript: ScriptCall {
  static let script = RedisScript(name: "forget", source: LuaScripts.forget)

  let layout: FleetLayout
  let kind: MemberKind
  let name: String

  var keys: [String] { layout.all }
  var arguments: [any RedisArgument] { [FleetLayout.field(kind, name)] }

  /// - Returns: Whether there was such a member.
  func read(_ reply: RedisReply) throws -> Bool { try reply.integer() > 0 }
}
