internal import Hiredis
internal import RedisClient

/// Reads details for operators beside the state: survey.lua.
struct SurveyScript: ScriptCall {
  static let script = RedisScript(name: "survey", source: LuaScripts.survey)

  let layout: QueueLayout

  struct Reply {
    /// The time of the next retry, in milliseconds since 1970 by Redis's clock.
    let nextDueAt: Int64?
    /// Dead letters.
    let requeued: Int64
    let discarded: Int64
    /// When each pending list's next envelope was received; nil if there is none or it is unknown.
    let receivedAt: [Int64?]
  }

  var keys: [String] { [layout.later, layout.stats] + layout.pending }

  func read(_ reply: RedisReply) throws -> Reply {
    let items = try reply.array()
    func number(_ index: Int) throws -> Int64? {
      guard let text = try items.item(index).stringOrNull() else { return nil }
      // A score is a number that may have a decimal point.
      guard let number = Double(text), abs(number) < 1e18 else {
        throw UnexpectedReply(expected: "a number", came: "\"\(text.prefix(100))\"")
      }
      return Int64(number)
    }
    // Retries use a clock that may be behind Redis's: see clock.lua.
    let clock = try items.item(4).stringOrNull()?.split(separator: " ") ?? []
    let behind = clock.count == 3 ? Int64(clock[1]).flatMap { abs($0) < 1 << 50 ? $0 : nil } ?? 0 : 0
    return Reply(
      nextDueAt: try number(0).map { $0 + behind }, requeued: try number(1) ?? 0, discarded: try number(2) ?? 0,
      receivedAt: try items.item(3).array().map { item in
        let receivedAt = try item.integer()
        return receivedAt < 0 ? nil : receivedAt
      })
  }
}
