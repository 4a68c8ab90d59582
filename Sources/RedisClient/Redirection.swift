// A cluster node's error that a command must be sent to another node, and the commands to send again. No I/O.
//
// A node refuses a command before it runs any of it, so sending it again can't repeat an effect. Of several commands
// that were sent together, some may have run and others not: while a slot moves, one key is still at this node and the
// next one is already at the other. So the replies are examined one by one, and only the refused commands are repeated,
// together with every WAIT after one of them, because the WAIT's count didn't include them.

public import Hiredis
import NIOCore

/// Why a node hasn't carried out a command. Another node will, or the same one later.
enum Redirection: Sendable, Hashable {
  /// The slot now belongs to this node.
  case moved(to: RedisHost)
  /// The slot, and perhaps the key, is moving to this node: send this command there.
  case ask(RedisHost)
  /// The slot is moving, and its keys are partly at one node and partly at the other.
  case later
  /// No node serves the slot, according to this node. It may be cut off from the other nodes, and one of these may have
  /// the slot.
  case down

  /// Nil for any other reply.
  /// - Parameter node: The node that replied. Its name may be missing in the reply.
  init?(_ reply: RedisReply, from node: RedisHost) {
    guard case .error(let error) = reply else { return nil }
    switch error.code {
    case "MOVED", "ASK":
      // `MOVED 3999 127.0.0.1:6381`; an IPv6 address contains colons and has no brackets.
      let words = error.message.split(separator: " ")
      guard words.count == 3, let colon = words[2].lastIndex(of: ":"),
        let port = Int(words[2][words[2].index(after: colon)...]), (1...65535).contains(port)
      else { return nil }
      let name = words[2][..<colon]
      let host = RedisHost(["", "?"].contains(name) ? node.name : String(name), port: port)
      self = error.code == "MOVED" ? .moved(to: host) : .ask(host)
    case "TRYAGAIN": self = .later
    case "CLUSTERDOWN": self = .down
    default: return nil
    }
  }

  /// Whether it names another node.
  var isElsewhere: Bool {
    switch self {
    case .moved, .ask: true
    case .later, .down: false
    }
  }
}

extension RedisServerError {
  /// Whether a cluster node refused a command because the keys' slot is at another node or is moving. Then nothing was
  /// carried out.
  public var isOfMovingSlot: Bool { ["MOVED", "ASK", "TRYAGAIN"].contains(code) }
}

/// Commands that were sent together, and some of which were refused.
struct RedirectedCommands {
  private let commands: [ByteBuffer]
  private let isWait: [Bool]
  private(set) var replies: [RedisReply]
  private var redirections: [Redirection?]
  private var sent: [Int] = []

  /// - Parameters:
  ///   - encoded: The commands, as they were sent.
  ///   - replies: One for each.
  ///   - redirections: The redirection in each reply; not all nil.
  init?(_ encoded: ByteBuffer, _ replies: [RedisReply], _ redirections: [Redirection?]) {
    guard let commands = Self.apart(encoded, count: replies.count) else { return nil }
    self.commands = commands.map(\.bytes)
    isWait = commands.map { ["WAIT", "WAITAOF"].contains($0.name.uppercased()) }
    self.replies = replies
    self.redirections = redirections
  }

  /// The next redirection; nil when every command has been carried out or finally refused.
  var next: Redirection? { redirections.lazy.compactMap { $0 }.first }

  /// Whether any command has been carried out.
  var isPartlyDone: Bool { replies.indices.contains { redirections[$0] == nil && !isWait[$0] } }

  /// The error of the first refused command.
  var refusal: String {
    guard let place = redirections.firstIndex(where: { $0 != nil }), case .error(let error) = replies[place] else {
      return "nothing was refused"
    }
    return error.message
  }

  /// The commands to send again to one node.
  /// - Parameter asking: Whether to send ASKING before each. Its reply is then before each reply.
  mutating func takeNext(asking: Bool) -> (buffer: ByteBuffer, count: Int) {
    let next = next
    let first = redirections.firstIndex { $0 != nil } ?? 0
    sent = replies.indices.filter { $0 >= first && (redirections[$0] == next || isWait[$0]) }
    var buffer = ByteBuffer()
    for place in sent {
      if asking { buffer.writeBytes(RedisCommand("ASKING").encoded) }
      var command = commands[place]
      buffer.writeBuffer(&command)
    }
    return (buffer, asking ? sent.count * 2 : sent.count)
  }

  /// Records the replies to the commands that were sent last.
  mutating func answered(_ answers: [RedisReply], asked: Bool, by node: RedisHost) {
    let wasPartlyDone = isPartlyDone
    let answers = asked ? stride(from: 1, to: answers.count, by: 2).map { answers[$0] } : answers
    for (place, answer) in zip(sent, answers) {
      redirections[place] = Redirection(answer, from: node)
      // If the writes were made on two servers, the lower number of confirmations counts.
      if isWait[place], wasPartlyDone, case .integer(let before) = replies[place], case .integer(let now) = answer {
        replies[place] = .integer(min(before, now))
      } else {
        replies[place] = answer
      }
    }
  }

  /// Splits encoded commands; nil unless they are this number of arrays of strings. All commands here are.
  private static func apart(_ encoded: ByteBuffer, count: Int) -> [(bytes: ByteBuffer, name: String)]? {
    var rest = encoded
    var commands: [(bytes: ByteBuffer, name: String)] = []
    for _ in 0..<count {
      let begin = rest.readerIndex
      guard let words = rest.readLength(after: UInt8(ascii: "*")), words > 0 else { return nil }
      var name = ""
      for word in 0..<words {
        guard let length = rest.readLength(after: UInt8(ascii: "$")), let text = rest.readSlice(length: length),
          rest.readSlice(length: 2) != nil
        else { return nil }
        if word == 0 { name = String(buffer: text) }
      }
      guard let bytes = encoded.getSlice(at: begin, length: rest.readerIndex - begin) else { return nil }
      commands.append((bytes, name))
    }
    return rest.readableBytes == 0 ? commands : nil
  }
}

extension ByteBuffer {
  /// Reads the length in `*12` or `$5`, and the line end.
  fileprivate mutating func readLength(after mark: UInt8) -> Int? {
    guard let end = readableBytesView.firstIndex(of: UInt8(ascii: "\n")),
      let line = readString(length: end + 1 - readerIndex), line.utf8.first == mark
    else { return nil }
    return Int(line.dropFirst().prefix { $0.isASCII && $0.isNumber })
  }
}
