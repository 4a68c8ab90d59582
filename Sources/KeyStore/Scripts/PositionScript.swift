import Hiredis
import KeyReplica
import RedisClient

/// Reads the store's position, the source mark and Redis's time in one step: position.lua.
struct PositionScript: ScriptCall {
  static let script = RedisScript(name: "position", source: LuaScripts.position)

  let layout: StoreLayout

  var keys: [String] { [layout.meta] }
  var arguments: [any RedisArgument] { StoreLayout.metaFields }

  func read(_ reply: RedisReply) throws -> StoreAnswer<StorePosition> {
    let items = try Self.items(of: reply)
    switch try StoreLayout.position(fromFields: items[..<StoreLayout.metaFields.count]) {
    case .found(var position):
      position.time = try Self.time(from: items[StoreLayout.metaFields.count])
      return .found(position)
    case let answer: return answer
    }
  }

  /// Redis's time in microseconds since 1970; nil if Redis denies the command `TIME`.
  static func time(from reply: RedisReply) throws -> UInt64? {
    guard let text = try reply.stringOrNull() else { return nil }
    guard let time = UInt64(text) else {
      throw UnreadableStore("expected Redis's time in microseconds, got \"\(text.prefix(32))\"")
    }
    return time
  }

  /// The source mark in the same reply.
  static func sourceMark(from reply: RedisReply) throws -> SourceMark {
    let items = try items(of: reply)
    func number(_ field: String) throws -> UInt64? {
      guard let index = StoreLayout.metaFields.firstIndex(of: field), let text = try items[index].stringOrNull() else {
        return nil
      }
      guard let number = UInt64(text), number <= SourceMark.limit else {
        throw UnreadableStore("expected a number in the field \(field) of meta, got \"\(text.prefix(32))\"")
      }
      return number
    }
    let time = try Self.time(from: items[StoreLayout.metaFields.count])
    return SourceMark(
      moment: try number("source_mark"), maxAge: try number("source_max_age").map { .milliseconds(Int64($0)) },
      readAt: time)
  }

  private static func items(of reply: RedisReply) throws -> [RedisReply] {
    let items = try reply.array()
    guard items.count == StoreLayout.metaFields.count + 1 else {
      throw UnreadableStore("expected \(StoreLayout.metaFields.count) fields of meta and a time, got \(items.count)")
    }
    return items
  }
}
