// Redis at its fastest, as the peer of a lookup in memory: a blocking socket and commands that were encoded beforehand, with no
// client library in between that could be blamed.

/// One conversation with Redis that blocks its thread.
final class BlockingRedis {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let socket: BlockingSocket

  init(_ socket: BlockingSocket) { self.socket = socket }

  static func encoded(_ words: [[UInt8]]) -> [UInt8] {
    words.reduce(into: Array("*\(words.count)\r\n".utf8)) { $0 += Array("$\($1.count)\r\n".utf8) + $1 + [13, 10] }
  }

  /// Sends encoded commands and waits for their replies.
  /// - Parameter lines: How many line ends the replies have: 1 for a status, 2 for a bulk string of one line.
  func exchange(_ commands: [UInt8], lines: Int) throws {
    try socket.send(commands)
    var left = lines
    var beginsLine = true
    while left > 0 {
      let bytes = try socket.receive()
      guard !bytes.isEmpty else { throw Failure(description: "Redis closed the connection") }
      for byte in bytes {
        if beginsLine, byte == UInt8(ascii: "-") { throw Failure(description: "Redis answered with an error") }
        beginsLine = byte == UInt8(ascii: "\n")
        if beginsLine { left -= 1 }
      }
    }
    guard left == 0 else { throw Failure(description: "Redis answered more than was asked") }
  }
}
