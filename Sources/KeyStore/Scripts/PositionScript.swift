import Hiredis
import KeyReplica
import RedisClient

/// Reads the store's position, with the source mark and Redis's time, in one step: position.lua.
struct PositionScript: ScriptCall {
  static let script = RedisScript(name: "position", source: LuaScripts.position)

  let layout: StoreLayout

  var keys: [String] { [layout.meta] }
  var arguments: [any RedisArgument] { StoreLayout.metaFields }

  func read(_ reply: RedisReply) throws -> StoreAnswer<StorePosition> {
    let items = try reply.array()
    let fields = StoreLayout.metaFields.count
    guard items.count == fields + 1 else {
      throw UnreadableStore("expected \(fields) fields of meta and a time, got \(items.count)")
    }
    return try StoreLayout.position(
      fromFields: items[..<fields], at: try Self.time(from: items[fields]))
  }

  /// Redis's time in microseconds since 1970; nil if Redis denies the command `TIME`.
  static func time(from reply: RedisReply) throws -> UInt64? {
    try reply.stringOrNull().flatMap { UInt64($0) }
  }
}
