internal import Hiredis
internal import RedisClient

/// Writes one report, and removes members that have been silent for long: report.lua.
struct ReportScript: ScriptCall {
  static let script = RedisScript(name: "report", source: LuaScripts.report)

  let layout: FleetLayout
  let kind: MemberKind
  let name: String
  let report: [UInt8]
  let instance: String
  /// Whether this is the last report before the member ends in good order.
  let isLast: Bool
  /// How long silent members stay listed.
  let kept: Duration
  /// Maximum members.
  let limit: Int
  /// How long a member must have been silent to be replaced by a new one.
  let roomAfter: Duration

  var keys: [String] { layout.all }

  var arguments: [any RedisArgument] {
    [
      FleetLayout.field(kind, name), report, instance, isLast ? "1" : "0", Int(kept / .milliseconds(1)), limit,
      Int(roomAfter / .milliseconds(1)),
    ]
  }

  func read(_ reply: RedisReply) throws { try reply.ok() }
}
