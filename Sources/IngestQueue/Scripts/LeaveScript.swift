internal import Hiredis
internal import RedisClient

/// Removes a worker from the list of workers, unless it still has claims: leave.lua.
struct LeaveScript: ScriptCall {
  static let script = RedisScript(name: "leave", source: LuaScripts.leave)

  let layout: QueueLayout
  let worker: WorkerName
  let instance: String

  var keys: [String] { [layout.workers] }
  var arguments: [any RedisArgument] { [layout.claimPrefix, "\(worker)", instance, QueueLayout.slots] }

  /// - Returns: Whether it was removed.
  func read(_ reply: RedisReply) throws -> Bool { try reply.integer() == 1 }
}
