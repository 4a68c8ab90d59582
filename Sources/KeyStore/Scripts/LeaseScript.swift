import Hiredis
import RedisClient

/// Takes, renews or releases the lease for applying lists: lease.lua.
struct LeaseScript: ScriptCall {
  static let script = RedisScript(name: "lease", source: LuaScripts.lease)

  enum Step: String {
    case take, renew, release
  }

  /// The result.
  enum Reply: Equatable {
    case done
    /// Another holder has the lease; its text.
    case held(String)
    /// The lease has ended.
    case ended
  }

  let layout: StoreLayout
  let step: Step
  /// The lease's present text; empty for none.
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
