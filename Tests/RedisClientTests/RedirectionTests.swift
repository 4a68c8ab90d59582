import Hiredis
import NIOCore
import Testing

@testable import RedisClient

/// Which commands are sent again after a cluster node has rejected them, and which aren't.
struct RedirectionTests {
  private static let node = RedisHost("10.0.0.1", port: 6379)

  private static func error(_ message: String) -> RedisReply { .error(RedisServerError(message: message)) }

  @Test(arguments: [
    ("MOVED 3999 10.0.0.2:6381", Redirection.moved(to: RedisHost("10.0.0.2", port: 6381))),
    ("ASK 3999 redis-2.example:6381", .ask(RedisHost("redis-2.example", port: 6381))),
    ("MOVED 3999 ::1:6381", .moved(to: RedisHost("::1", port: 6381))),
    // A node that doesn't know its name is where it was found, one port further perhaps.
    ("MOVED 3999 :6381", .moved(to: RedisHost("10.0.0.1", port: 6381))),
    ("MOVED 3999 ?:6381", .moved(to: RedisHost("10.0.0.1", port: 6381))),
    ("TRYAGAIN Multiple keys request during rehashing of slot", .later),
    ("CLUSTERDOWN The cluster is down", .down),
    ("MOVED 3999", nil), ("MOVED 3999 10.0.0.2", nil), ("MOVED 3999 10.0.0.2:0", nil), ("MOVED 3999 10.0.0.2:x", nil),
    ("OOM command not allowed", nil), ("CROSSSLOT Keys in request don't hash to the same slot", nil),
  ])
  func `what an error says of where to go`(message: String, redirection: Redirection?) {
    #expect(Redirection(Self.error(message), from: Self.node) == redirection)
  }

  @Test func `what isn't an error is no redirection`() {
    for reply in [RedisReply.null, .status("MOVED 1 h:1"), .bulk(Array("MOVED 1 h:1".utf8)), .integer(1)] {
      #expect(Redirection(reply, from: Self.node) == nil)
    }
  }

  private static func redirected(_ commands: [RedisCommand], _ replies: [RedisReply]) throws -> RedirectedCommands {
    let redirections = replies.map { Redirection($0, from: node) }
    return try #require(RedirectedCommands(commands.encoded, replies, redirections))
  }

  @Test func `only what was refused is sent again`() throws {
    let push = { (list: String) in RedisCommand("LPUSH", list, "*2\r\n$3\r\n") }
    var group = try Self.redirected(
      [push("a"), push("b"), push("c")], [.integer(1), Self.error("ASK 1 h:2"), Self.error("MOVED 1 h:2")])
    #expect(group.isPartlyDone)
    #expect(group.next == .ask(RedisHost("h", port: 2)))
    let asked = group.takeNext(asking: true)
    #expect(asked.buffer == [RedisCommand("ASKING"), push("b")].encoded)
    #expect(asked.count == 2)
    group.answered([.status("OK"), .integer(7)], asked: true, by: RedisHost("h", port: 2))
    #expect(group.next == .moved(to: RedisHost("h", port: 2)))
    let moved = group.takeNext(asking: false)
    #expect(moved.buffer == [push("c")].encoded)
    group.answered([.integer(9)], asked: false, by: RedisHost("h", port: 2))
    #expect(group.next == nil)
    #expect(group.replies == [.integer(1), .integer(7), .integer(9)])
  }

  /// What WAIT counted was without the command that was refused: taken as it was, a push would be called safe that isn't.
  @Test func `a WAIT is sent again with what it waited for`() throws {
    let commands = [RedisCommand("LPUSH", "a", "x"), RedisCommand("WAIT", 1, 100)]
    var group = try Self.redirected(commands, [Self.error("MOVED 1 h:2"), .integer(5)])
    #expect(!group.isPartlyDone)
    let again = group.takeNext(asking: false)
    #expect(again.buffer == commands.encoded)
    group.answered([.integer(1), .integer(0)], asked: false, by: RedisHost("h", port: 2))
    #expect(group.next == nil)
    #expect(group.replies == [.integer(1), .integer(0)])
  }

  @Test func `where it was done on two servers, it is as safe as on the worse one`() throws {
    let commands = [
      RedisCommand("LPUSH", "a", "x"), RedisCommand("LPUSH", "b", "x"), RedisCommand("WAIT", 2, 100),
    ]
    var group = try Self.redirected(commands, [.integer(1), Self.error("ASK 1 h:2"), .integer(1)])
    let again = group.takeNext(asking: true)
    #expect(again.buffer == [RedisCommand("ASKING"), commands[1], RedisCommand("ASKING"), commands[2]].encoded)
    group.answered([.status("OK"), .integer(1), .status("OK"), .integer(2)], asked: true, by: RedisHost("h", port: 2))
    #expect(group.replies == [.integer(1), .integer(1), .integer(1)])
  }

  @Test func `what isn't made of commands isn't taken apart`() {
    for text in ["PING\r\n", "*1\r\n$4\r\nPI", "*x\r\n", "*0\r\n", "*1\r\n$4\r\nPING\r\n*1\r\n", ""] {
      let error = Self.error("MOVED 1 h:2")
      #expect(RedirectedCommands(ByteBuffer(string: text), [error], [.later]) == nil, "\(text)")
    }
  }
}
