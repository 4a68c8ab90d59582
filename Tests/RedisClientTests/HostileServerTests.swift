import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct HostileServerTests {
  /// One command's fate with a server that answers it so.
  private func fate(
    answer: String, limits: ReplyLimits = ReplyLimits(), within limit: TimeAmount = .seconds(5)
  ) async throws -> RedisError {
    let server = try await HostileServer.start { client, _ in client.say(answer) }
    let connection = try await connected(to: server.endpoint) { $0.replyLimits = limits }
    let error = try await connection.sendFromLoop((RedisCommand("GET", "key"), within: limit))[0].redisError()
    #expect(error.outcome == .unknown)
    try await connection.closed.get()
    return error
  }

  @Test(arguments: [
    "garbage\r\n", "*1\r\n$x\r\n", "%1\r\n+a\r\n+b\r\n", "\0\0\0\0", String(repeating: "*1\r\n", count: 9) + ":1\r\n",
  ])
  func `garbage ends the conversation`(answer: String) async throws {
    guard case .unreadable(.malformed) = try await fate(answer: answer).reason else {
      Issue.record("\(answer) was taken")
      return
    }
  }

  @Test(arguments: [
    "*11\r\n", "$101\r\n" + String(repeating: "x", count: 200), "+" + String(repeating: "x", count: 70_000),
  ])
  func `replies over the limits end the conversation`(answer: String) async throws {
    let limits = ReplyLimits(elements: 10, bytes: 100)
    guard case .unreadable(.overLimit) = try await fate(answer: answer, limits: limits).reason else {
      Issue.record("\(answer.prefix(20)) was taken")
      return
    }
  }

  @Test(arguments: ["", "+OK", "$5\r\nhel", "*2\r\n:1\r\n", "*1000000\r\n"])
  func `half a reply and then silence is a missed deadline`(answer: String) async throws {
    let error = try await fate(answer: answer, within: .milliseconds(100))
    #expect(error.reason == .deadlineExceeded(command: "GET"))
  }

  @Test func `a reply that trickles in without end is a missed deadline`() async throws {
    let server = try await HostileServer.start { client, _ in
      client.say("$100000\r\n")
      let trickle = client.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(10)) { _ in
        client.say("x")
      }
      client.closeFuture.whenComplete { _ in trickle.cancel() }
    }
    let connection = try await connected(to: server.endpoint)
    let clock = ContinuousClock()
    let began = clock.now
    let answers = try await connection.sendFromLoop((RedisCommand("GET", "key"), within: .milliseconds(200)))
    let error = try await answers[0].redisError()
    #expect(error == RedisError(.deadlineExceeded(command: "GET"), outcome: .unknown))
    #expect(clock.now - began < .seconds(10))
  }

  @Test func `replies that come byte by byte are read`() async throws {
    let server = try await HostileServer.start { client, _ in
      let stream = ByteBuffer(bytes: RedisReplies.stream)
      // One byte a turn of the loop, so that each is a write of its own.
      @Sendable func say(_ rest: ByteBuffer) {
        guard let byte = rest.getSlice(at: rest.readerIndex, length: 1) else { return }
        client.writeAndFlush(byte).whenSuccess {
          client.eventLoop.scheduleTask(in: .microseconds(100)) { say(rest.dropping(1)) }
        }
      }
      say(stream)
    }
    let connection = try await connected(to: server.endpoint)
    let replies = try await connection.execute(RedisReplies.all.map { _ in RedisCommand("ANY") })
    #expect(replies == RedisReplies.all)
    connection.close()
  }

  @Test func `a reply that nobody asked for ends the conversation`() async throws {
    let server = try await HostileServer.start { client, _ in client.say("+asked\r\n+unasked\r\n") }
    let connection = try await connected(to: server.endpoint)
    #expect(try await connection.execute(RedisCommand("PING")) == .status("asked"))
    try await connection.closed.get()
    #expect(
      try await connection.send(RedisCommand("PING")).redisError() == RedisError(.unasked, outcome: .notSent))
  }

  @Test func `a server that closes only its sending side has closed the conversation`() async throws {
    let server = try await HostileServer.start { client, _ in client.close(mode: .output, promise: nil) }
    let connection = try await connected(to: server.endpoint)
    let error = try await connection.send(RedisCommand("PING"), within: .seconds(30)).redisError()
    guard case .closed = error.reason, error.outcome == .unknown else {
      Issue.record("\(error)")
      return
    }
    try await connection.closed.get()
  }

  @Test func `wherever the stream is cut, each command gets its own reply or none`() async throws {
    let replies = RedisReplies.all
    let stream = RedisReplies.stream
    // Where each reply ends in the stream.
    var ends: [Int] = []
    for wire in RedisReplies.wires { ends.append((ends.last ?? 0) + wire.utf8.count) }
    let commands = replies.indices.map { RedisCommand("GET", "key\($0)") }
    let asked = commands.reduce(0) { $0 + $1.encoded.count }

    let cut = Mutex(0)
    let received = Mutex(0)
    let server = try await HostileServer.start { client, bytes in
      // All commands must have been read: what is left unread when a socket is closed takes replies with it.
      let length = received.withLock { length in
        length += bytes.count
        return length
      }
      if length == asked { client.sayAndHangUp(stream.prefix(cut.withLock { $0 })) }
    }
    for length in 0...stream.count {
      cut.withLock { $0 = length }
      received.withLock { $0 = 0 }
      let connection = try await connected(to: server.endpoint)
      let answers = commands.map { connection.send($0, within: .seconds(30)) }
      for (number, answer) in answers.enumerated() {
        if ends[number] <= length {
          #expect(try await answer.get() == replies[number], "cut after \(length)")
        } else {
          let error = try await answer.redisError()
          #expect(error.outcome == .unknown, "cut after \(length)")
        }
      }
      try await connection.closed.get()
    }
  }
}

extension ByteBuffer {
  fileprivate func dropping(_ count: Int) -> ByteBuffer {
    var rest = self
    rest.moveReaderIndex(forwardBy: count)
    return rest
  }
}

/// Some replies of every kind, as values and as bytes.
enum RedisReplies {
  static let all: [RedisReply] = [
    .status("OK"), .integer(-12), .bulk(Array("a\r\nb".utf8)), .null, .error(RedisServerError(message: "ERR no")),
    .array([.bulk([]), .array([.integer(1), .null]), .array([])]), .bulk(Array("end".utf8)),
  ]
  static let wires = [
    "+OK\r\n", ":-12\r\n", "$4\r\na\r\nb\r\n", "$-1\r\n", "-ERR no\r\n",
    "*3\r\n$0\r\n\r\n*2\r\n:1\r\n$-1\r\n*0\r\n", "$3\r\nend\r\n",
  ]
  static let stream = wires.flatMap { Array($0.utf8) }
}
