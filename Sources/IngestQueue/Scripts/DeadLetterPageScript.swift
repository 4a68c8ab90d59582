internal import Hiredis
internal import RedisClient

/// Reads the next dead letters without their envelopes: dead_letter_page.lua.
struct DeadLetterPageScript: ScriptCall {
  static let script = RedisScript(name: "dead letters' page", source: LuaScripts.deadLetterPage)

  let layout: QueueLayout
  let order: DeadLetters.Order
  /// IDs of entries, or special IDs of XRANGE such as `-` and `+`.
  let from: String
  let to: String
  /// Maximum dead letters; and a number of bytes after which no further one is read.
  let letters: Int
  let bytes: Int

  struct Reply {
    let letters: [FoundLetter]
    let isLast: Bool
  }

  var keys: [String] { [layout.dead] }
  var arguments: [any RedisArgument] { [order.rawValue, from, to, letters, bytes] }

  func read(_ reply: RedisReply) throws -> Reply {
    let items = try reply.array()
    return Reply(
      letters: try items.item(1).array().map { try Self.letter($0.array()) },
      isLast: try items.item(0).integer() == 1)
  }

  private static func letter(_ items: [RedisReply]) throws -> FoundLetter {
    let entry = try DeadLetter.Entry(try items.item(0).string())
    let id = try items.item(1).string()
    let bytes = Int(try items.item(2).integer())
    if let flaw = try items.item(3).stringOrNull() {
      return .failure(UnreadableLetter(entry: entry, id: id, bytes: bytes, flaw: flaw))
    }
    // The script has checked that these are numbers and in range. The texts may have been cut in the middle of a
    // character.
    func number(_ index: Int) throws -> Int64 {
      let text = try items.item(index).string()
      guard let number = Int64(text) else { throw UnexpectedReply(expected: "a number", came: "\"\(text)\"") }
      return number
    }
    return .success(
      DeadLetter(
        entry: entry, id: id, reason: String(decoding: try items.item(4).bytes(), as: UTF8.self),
        attempts: Int(try number(5)), deaths: Int(try number(6)), firstAt: try number(7), diedAt: try number(8),
        worker: String(decoding: try items.item(9).bytes(), as: UTF8.self),
        account: try items.item(10).bytesOrNull().map { String(decoding: $0, as: UTF8.self) }, bytes: bytes))
  }
}
