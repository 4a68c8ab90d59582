// A second implementation of RESP2, independent of the tested one: replies to bytes, and bytes of commands to
// arguments.

import Hiredis

extension RedisReply {
  /// This reply as Redis would send it.
  var wire: [UInt8] {
    switch self {
    case .status(let text): Array("+\(text)\r\n".utf8)
    case .error(let error): Array("-\(error.message)\r\n".utf8)
    case .integer(let number): Array(":\(number)\r\n".utf8)
    case .null: Array("$-1\r\n".utf8)
    case .bulk(let bytes): Array("$\(bytes.count)\r\n".utf8) + bytes + Array("\r\n".utf8)
    case .array(let items): Array("*\(items.count)\r\n".utf8) + items.flatMap(\.wire)
    case .strings(let strings):
      Array("*\(strings.count)\r\n".utf8) + (0..<strings.count).flatMap { RedisReply.bulk(Array(strings[$0])).wire }
    }
  }

  /// A random reply with at most this number of nested arrays.
  static func random(levels: Int, using generator: inout some RandomNumberGenerator) -> RedisReply {
    switch Int.random(in: 0..<(levels > 0 ? 8 : 5), using: &generator) {
    case 0: .status(String(repeating: "OK ", count: .random(in: 0...3, using: &generator)))
    case 1: .error(RedisServerError(message: "ERR \(UInt8.random(in: 0...255, using: &generator))"))
    case 2: .integer(.random(in: .min ... .max, using: &generator))
    case 3: .null
    case 4:
      .bulk(
        (0..<Int.random(in: 0...40, using: &generator)).map { _ in
          // Line ends and type bytes are what a reader could stumble over.
          Bool.random(using: &generator)
            ? "\r\n$*:+-0".utf8.randomElement(using: &generator)! : .random(in: 0...255, using: &generator)
        })
    default:
      .array(
        (0..<Int.random(in: 0...5, using: &generator)).map { _ in random(levels: levels - 1, using: &generator) })
    }
  }
}

/// What a whole stream came to, when it was fed in pieces.
struct Reading: Equatable {
  var replies: [RedisReply] = []
  var failed = false

  /// - Parameter pieces: The stream, cut.
  init(_ pieces: some Sequence<ArraySlice<UInt8>>, limits: ReplyLimits = ReplyLimits()) {
    var reader = ReplyReader(limits: limits)
    do throws(ReplyError) {
      for piece in pieces {
        try reader.feed(Array(piece))
        while let reply = try reader.next() { replies.append(reply) }
      }
    } catch {
      failed = true
    }
  }

  init(_ stream: [UInt8], limits: ReplyLimits = ReplyLimits()) { self.init([stream[...]], limits: limits) }
}

extension [UInt8] {
  /// The bytes in pieces of random sizes from 1 up.
  func cut(using generator: inout some RandomNumberGenerator) -> [ArraySlice<UInt8>] {
    var pieces: [ArraySlice<UInt8>] = []
    var rest = self[...]
    while !rest.isEmpty {
      let most = Bool.random(using: &generator) ? 4 : Swift.max(1, rest.count)
      let piece = rest.prefix(Int.random(in: 1...most, using: &generator))
      pieces.append(piece)
      rest = rest.dropFirst(piece.count)
    }
    return pieces
  }

  var oneByOne: [ArraySlice<UInt8>] { indices.map { self[$0...$0] } }
}

/// The arguments of the commands in these bytes, the name first; nil where they aren't whole commands.
func parsedCommands(_ bytes: [UInt8]) -> [[[UInt8]]]? {
  var rest = bytes[...]
  func number(after type: Character) -> Int? {
    guard rest.popFirst() == type.asciiValue, let end = rest.firstIndex(of: UInt8(ascii: "\r")),
      let number = Int(String(decoding: rest[..<end], as: UTF8.self)), number >= 0
    else { return nil }
    rest = rest[end...].dropFirst()
    return rest.popFirst() == UInt8(ascii: "\n") ? number : nil
  }
  var commands: [[[UInt8]]] = []
  while !rest.isEmpty {
    guard let count = number(after: "*"), count > 0 else { return nil }
    var words: [[UInt8]] = []
    for _ in 0..<count {
      guard let length = number(after: "$"), rest.count >= length + 2 else { return nil }
      words.append(Array(rest.prefix(length)))
      rest = rest.dropFirst(length)
      guard rest.popFirst() == UInt8(ascii: "\r"), rest.popFirst() == UInt8(ascii: "\n") else { return nil }
    }
    commands.append(words)
  }
  return commands
}
