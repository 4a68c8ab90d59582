internal import Hiredis
internal import RedisClient

/// Reads all reports and marks as they were at one moment: read.lua.
struct ReadScript: ScriptCall {
  static let script = RedisScript(name: "read the fleet", source: LuaScripts.read)

  let layout: FleetLayout

  struct Reply {
    /// Redis's clock, in seconds since 1970.
    let readAt: Double
    /// By field.
    let reports: [String: [UInt8]]
    let marks: [String: [UInt8]]
    /// Members that found the register full, and when they tried last, in milliseconds since 1970.
    let turnedAway: [String: [UInt8]]
  }

  var keys: [String] { layout.all }

  func read(_ reply: RedisReply) throws -> Reply {
    let items = try reply.array()
    guard items.count == 5, let seconds = Double(try items[0].string()), let micros = Double(try items[1].string())
    else { throw UnexpectedReply(expected: "a time, reports and marks", came: "an array of \(items.count)") }
    return Reply(
      readAt: seconds + micros / 1e6, reports: try Self.fields(items[2]), marks: try Self.fields(items[3]),
      turnedAway: try Self.fields(items[4]))
  }

  private static func fields(_ reply: RedisReply) throws -> [String: [UInt8]] {
    let items = try reply.array()
    guard items.count.isMultiple(of: 2) else {
      throw UnexpectedReply(expected: "fields and values", came: "an array of \(items.count)")
    }
    var fields: [String: [UInt8]] = [:]
    for index in stride(from: 0, to: items.count, by: 2) {
      // A name that isn't UTF-8 isn't a member's. It is listed as unreadable.
      fields[String(decoding: try items[index].bytes(), as: UTF8.self)] = try items[index + 1].bytes()
    }
    return fields
  }
}
