internal import Hiredis
internal import RedisClient

/// Extends a claim's lease, counted from now: extend.lua.
struct ExtendScript: ScriptCall {
  static let script = RedisScript(name: "extend", source: LuaScripts.extend)

  let layout: QueueLayout
  let worker: WorkerName
  let slot: Int
  let instance: String
  /// The claim's number.
  let number: Int64
  let lease: Duration

  var keys: [String] { [layout.claim(worker: worker, slot: slot)] }
  var arguments: [any RedisArgument] { [instance, number, lease.milliseconds] }

  /// - Returns: False if another instance has the claim by now.
  func read(_ reply: RedisReply) throws -> Bool {
    let expected = "the outcome of extending a lease"
    switch try ClaimAnswer(of: reply.array(), expected: expected) {
    case .extended: return true
    case .lost, .gone: return false
    case let other: throw other.unexpected(expected)
    }
  }
}
