// The conversation's state without a socket or a clock. Waiters are just names.

import Hiredis
import NIOCore
import Testing

@testable import RedisClient

@Suite struct ConversationTests {
  /// An action in a form that can be compared.
  private enum Seen: Equatable {
    case answer(String, [RedisReply])
    case end(RedisError.Reason, [String])
  }

  private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

  private func conversation(
    limits: ReplyLimits = ReplyLimits(), waitingLimit: Int = 100, waitingBytesLimit: Int = 1000
  ) -> Conversation<String> {
    Conversation(limits: limits, waitingLimit: waitingLimit, waitingBytesLimit: waitingBytesLimit)
  }

  private func send(
    _ name: String, expecting: Int = 1, bytes: Int = 10, after: TimeAmount = .zero, within: TimeAmount = .seconds(5),
    on conversation: inout Conversation<String>
  ) throws {
    try conversation.willSend(
      name, expecting: expecting, bytes: bytes, now: start + after, deadline: start + within, waiter: name)
  }

  private func receive(_ text: String, on conversation: inout Conversation<String>) -> [Seen] {
    Array(text.utf8).withUnsafeBytes { conversation.received($0) }.map(seen)
  }

  private func seen(_ action: Conversation<String>.Action) -> Seen {
    switch action {
    case .answer(let waiter, let replies): return .answer(waiter, replies)
    case .end(let error, let waiters):
      #expect(error.outcome == .unknown)
      return .end(error.reason, waiters)
    }
  }

  @Test func `replies go to the commands in their order`() throws {
    var conversation = conversation()
    for name in ["a", "b", "c"] { try send(name, on: &conversation) }
    #expect(receive(":1\r\n", on: &conversation) == [.answer("a", [.integer(1)])])
    #expect(
      receive(":2\r\n-ERR 3\r\n", on: &conversation) == [
        .answer("b", [.integer(2)]), .answer("c", [.error(RedisServerError(message: "ERR 3"))]),
      ])
    #expect(conversation.ended == nil)
    #expect(conversation.nextDeadline == nil)
  }

  @Test func `a group is answered when all its replies are there`() throws {
    var conversation = conversation()
    try send("group", expecting: 3, on: &conversation)
    try send("single", on: &conversation)
    #expect(receive("+1\r\n+2\r\n", on: &conversation) == [])
    #expect(
      receive("+3\r\n+4\r\n", on: &conversation) == [
        .answer("group", [.status("1"), .status("2"), .status("3")]), .answer("single", [.status("4")]),
      ])
  }

  @Test func `half a reply waits for its rest`() throws {
    var conversation = conversation()
    try send("a", on: &conversation)
    #expect(receive("$5\r\nhel", on: &conversation) == [])
    #expect(receive("lo\r\n", on: &conversation) == [.answer("a", [.bulk(Array("hello".utf8))])])
  }

  @Test func `a reply that nobody asked for ends it, after the answers before it`() throws {
    var idle = conversation()
    #expect(receive("+OK\r\n", on: &idle) == [.end(.unasked, [])])
    var full = conversation()
    let answer = RedisServerError(message: "ERR max number of clients reached")
    #expect(receive("-\(answer.message)\r\n", on: &full) == [.end(.turnedAway(answer), [])])
    var busy = conversation()
    try send("a", on: &busy)
    #expect(receive("+1\r\n+2\r\n", on: &busy) == [.answer("a", [.status("1")]), .end(.unasked, [])])
    #expect(busy.ended?.reason == .unasked)
  }

  @Test func `what can't be read ends it, after the answers before it`() throws {
    var conversation = conversation()
    for name in ["a", "b", "c"] { try send(name, on: &conversation) }
    let actions = receive("+1\r\n?", on: &conversation)
    #expect(actions.first == .answer("a", [.status("1")]))
    guard actions.count == 2, case .end(.unreadable(.malformed), ["b", "c"]) = actions[1] else {
      Issue.record("\(actions)")
      return
    }
  }

  @Test func `replies to one group that are over the limits together end it, those to single commands don't`() throws {
    var single = conversation(limits: ReplyLimits(elements: 4, bytes: 10))
    for name in ["a", "b", "c"] { try send(name, on: &single) }
    #expect(receive("$6\r\nlength\r\n*3\r\n:1\r\n:2\r\n:3\r\n$6\r\nlength\r\n", on: &single).count == 3)
    #expect(single.ended == nil)
    for text in ["$6\r\nlength\r\n$5\r\nshort\r\n", "*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n:1\r\n:2\r\n"] {
      var group = conversation(limits: ReplyLimits(elements: 4, bytes: 10))
      try send("group", expecting: 3, on: &group)
      try send("after", on: &group)
      guard case .end(.unreadable(.overLimit), ["group", "after"]) = receive(text, on: &group).first else {
        Issue.record("\(text) was taken")
        return
      }
    }
  }

  @Test func `a reply over the limits ends it`() throws {
    var conversation = conversation(limits: ReplyLimits(elements: 2, bytes: 10))
    try send("a", on: &conversation)
    guard case .end(.unreadable(.overLimit), ["a"]) = receive("*3\r\n", on: &conversation).first else {
      Issue.record("an array of 3 was taken")
      return
    }
  }

  @Test func `the first late command ends it for all`() throws {
    var conversation = conversation()
    try send("patient", within: .seconds(5), on: &conversation)
    try send("hasty", within: .seconds(1), on: &conversation)
    #expect(conversation.nextDeadline == start + .seconds(1))
    #expect(conversation.timePassed(to: start + .milliseconds(999)) == nil)
    #expect(
      conversation.timePassed(to: start + .seconds(1)).map(seen)
        == .end(.deadlineExceeded(command: "hasty"), ["patient", "hasty"]))
    #expect(conversation.nextDeadline == nil)
    #expect(conversation.timePassed(to: start + .seconds(60)) == nil)
  }

  @Test func `the next deadline is that of what still waits`() throws {
    var conversation = conversation()
    try send("a", within: .seconds(1), on: &conversation)
    try send("b", within: .seconds(3), on: &conversation)
    _ = receive("+1\r\n", on: &conversation)
    #expect(conversation.nextDeadline == start + .seconds(3))
    #expect(conversation.timePassed(to: start + .seconds(2)) == nil)
  }

  @Test func `nothing is taken for an answer after the end`() throws {
    var conversation = conversation()
    try send("a", on: &conversation)
    _ = conversation.timePassed(to: start + .seconds(6))
    #expect(receive("+late\r\n", on: &conversation) == [])
  }

  @Test func `nothing is sent after the end, and its reason is the first one`() throws {
    var conversation = conversation()
    #expect(seen(conversation.fail(.shutDown)) == .end(.shutDown, []))
    #expect(seen(conversation.fail(.unasked)) == .end(.shutDown, []))
    let error = #expect(throws: RedisError.self) { try send("a", on: &conversation) }
    #expect(error == RedisError(.shutDown, outcome: .notSent))
  }

  @Test func `a command that is late already isn't sent and harms nobody`() throws {
    var conversation = conversation()
    try send("a", on: &conversation)
    let error = #expect(throws: RedisError.self) {
      try send("late", after: .seconds(2), within: .seconds(2), on: &conversation)
    }
    #expect(error == RedisError(.deadlineExceeded(command: "late"), outcome: .notSent))
    #expect(receive("+1\r\n", on: &conversation) == [.answer("a", [.status("1")])])
  }

  @Test func `as many commands may wait as the limit says`() throws {
    var conversation = conversation(waitingLimit: 2)
    try send("a", on: &conversation)
    try send("b", on: &conversation)
    let error = #expect(throws: RedisError.self) { try send("c", on: &conversation) }
    #expect(error == RedisError(.tooMuchWaiting(limit: "2 commands"), outcome: .notSent))
    _ = receive("+1\r\n", on: &conversation)
    try send("d", on: &conversation)
    #expect(receive("+2\r\n+3\r\n", on: &conversation) == [.answer("b", [.status("2")]), .answer("d", [.status("3")])])
  }

  @Test func `as many bytes may wait as the limit says, and a single command of any size`() throws {
    var conversation = conversation(waitingBytesLimit: 100)
    try send("huge", bytes: 5000, on: &conversation)
    let error = #expect(throws: RedisError.self) { try send("small", bytes: 1, on: &conversation) }
    #expect(error == RedisError(.tooMuchWaiting(limit: "100 bytes"), outcome: .notSent))
    _ = receive("+1\r\n", on: &conversation)
    try send("a", bytes: 60, on: &conversation)
    try send("b", bytes: 40, on: &conversation)
    #expect(throws: RedisError.self) { try send("c", bytes: 1, on: &conversation) }
  }
}
