import Hiredis
import RedisClient

/// Takes, renews or gives up the lease that lists take turns by: lease.lua.
struct LeaseScript: ScriptCall {
  static let script = RedisScript(name: "lease", source: LuaScripts.lease)

  enum Step: String {
    case take, renew, release
  }

  /// What became of it.
  enum Reply: Equatable {
    case done
    /// Somebody has it; the lease's text.
    case held(String)
    /// Nobody has it any more.
    case ended
  }

  let layout: StoreLayout
  let step: Step
  /// The lease's text until now; empty for none.
  let former: String
  let text: String
  let milliseconds: Int64

  var keys: [String] { [layout.lease] }
  var arguments: [any RedisArgument] { [step.rawValue, former, text, milliseconds] }

  func read(_ reply: RedisReply) throws -> Reply {
    guard let text = try reply.stringOrNull() else { return .ended }
    return text.isEmpty ? .done : .held(text)
  }
}
