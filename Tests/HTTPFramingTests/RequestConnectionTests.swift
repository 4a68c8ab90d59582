// The state machine's transitions one by one: its output, the calls that it expects next, and its phase.

import FramingOracle
import HTTPFraming
import Testing

/// A client's bytes and the machine that reads them, step by step.
private struct Conversation: ~Copyable {
  var connection: RequestConnection
  private var waiting: [UInt8] = []

  init(_ limits: RequestLimits = RequestLimits()) { connection = RequestConnection(limits: limits) }

  mutating func receive(_ text: String) { waiting += text.utf8 }

  mutating func next() -> Step.Action {
    let bytes = waiting
    let step = connection.next(bytes.span.bytes)
    waiting.removeFirst(step.length)
    return step.action
  }

  /// The number of the request that begins now.
  mutating func nextHead(_ location: SourceLocation = #_sourceLocation) throws -> RequestNumber {
    let action = next()
    guard case .head(let number, _) = action else {
      Issue.record("a head was expected, and came \(action)", sourceLocation: location)
      throw NoHead()
    }
    return number
  }

  var unread: Int { waiting.count }
}

private struct NoHead: Error {}

private func post(_ path: String = "/", length: Int, _ fields: String...) -> String {
  "POST \(path) HTTP/1.1\r\nHost: h\r\nContent-Length: \(length)\r\n" + fields.map { "\($0)\r\n" }.joined() + "\r\n"
}

private let chunkedHead = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

@Suite struct RequestConnectionTests {
  @Test func `a request goes through its phases`() throws {
    var conversation = Conversation()
    #expect(conversation.connection.phase == .idle)
    #expect(conversation.next() == .read)
    conversation.receive("POST / HTTP/1.1\r\nHo")
    #expect(conversation.next() == .read)
    #expect(conversation.connection.phase == .head)
    conversation.receive("st: h\r\nContent-Length: 4\r\n\r\nab")
    let number = try conversation.nextHead()
    #expect(conversation.connection.phase == .body)
    #expect(conversation.next() == .body)
    #expect(conversation.next() == .read)
    #expect(conversation.connection.phase == .body)
    conversation.receive("cd")
    #expect(conversation.next() == .body)
    #expect(conversation.next() == .end)
    #expect(conversation.connection.phase == .answering)
    #expect(conversation.next() == .wait)
    #expect(conversation.connection.answer(number)?.persistence == .open)
    #expect(conversation.connection.phase == .idle)
    #expect(conversation.next() == .read)
  }

  @Test func `what a client sends ahead waits unread until the answer`() throws {
    var conversation = Conversation()
    let second = post("/b", length: 1) + "b"
    conversation.receive(post("/a", length: 1) + "a" + second)
    let first = try conversation.nextHead()
    #expect(conversation.next() == .body)
    #expect(conversation.next() == .end)
    #expect(conversation.next() == .wait)
    #expect(conversation.next() == .wait)
    #expect(conversation.unread == second.utf8.count)
    #expect(conversation.connection.answer(first) != nil)
    #expect(try conversation.nextHead() != first)
    #expect(conversation.unread == 1)
  }

  @Test func `a request is answered once`() throws {
    var conversation = Conversation()
    conversation.receive(post(length: 0) + post(length: 0))
    let first = try conversation.nextHead()
    #expect(conversation.connection.answer(first) != nil)
    #expect(conversation.connection.answer(first) == nil)
    let second = try conversation.nextHead()
    #expect(conversation.connection.answer(first) == nil, "a late answer meets no other request")
    #expect(conversation.connection.answer(second) != nil)
    #expect(conversation.connection.answer(second) == nil)
  }

  @Test func `an answer that comes after a refusal is turned away`() throws {
    var conversation = Conversation()
    conversation.receive(chunkedHead + "1\r\nx\r\nnone")
    let number = try conversation.nextHead()
    #expect(conversation.next() == .skip)
    #expect(conversation.next() == .body)
    guard case .refuse(.invalidChunkSize, let framing) = skippingSkips(&conversation) else {
      Issue.record("no refusal")
      return
    }
    #expect(framing.persistence == .close)
    #expect(conversation.connection.answer(number) == nil)
    #expect(conversation.next() == .closeOutput)
    #expect(conversation.connection.answer(number) == nil)
  }

  private func skippingSkips(_ conversation: inout Conversation) -> Step.Action {
    while true {
      let action = conversation.next()
      if action != .skip { return action }
    }
  }

  // MARK: Early answers

  @Test func `a small rest of a refused body is drained, and the connection goes on`() throws {
    var conversation = Conversation(RequestLimits(drainBytes: 10))
    conversation.receive(post(length: 12) + "ab")
    let number = try conversation.nextHead()
    #expect(conversation.next() == .body)
    #expect(conversation.connection.answer(number)?.persistence == .open)
    #expect(conversation.connection.phase == .draining)
    #expect(conversation.next() == .read)
    conversation.receive("cdefghijk")
    #expect(conversation.next() == .skip)
    #expect(conversation.next() == .read)
    conversation.receive("l" + post(length: 0))
    #expect(conversation.next() == .skip)
    #expect(conversation.connection.phase == .idle)
    #expect(try conversation.nextHead() != number)
  }

  @Test func `a larger rest closes the connection, and the answer says so`() throws {
    var conversation = Conversation(RequestLimits(drainBytes: 10, lingerBytes: 20))
    conversation.receive(post(length: 13) + "ab")
    let number = try conversation.nextHead()
    #expect(conversation.next() == .body)
    conversation.receive("cdefghijklm" + post(length: 0))
    #expect(conversation.connection.answer(number)?.persistence == .close)
    #expect(conversation.connection.phase == .closing)
    #expect(conversation.next() == .closeOutput)
    #expect(conversation.next() == .close, "more came than it lingers for")
    #expect(conversation.connection.phase == .closed)
  }

  @Test func `a chunked body is never drained, since its length isn't known`() throws {
    var conversation = Conversation()
    conversation.receive(chunkedHead)
    let number = try conversation.nextHead()
    #expect(conversation.connection.answer(number)?.persistence == .close)
  }

  @Test func `a chunked body that has come is no reason to close`() throws {
    var conversation = Conversation()
    conversation.receive(chunkedHead + "0\r\n\r\n")
    let number = try conversation.nextHead()
    while conversation.next() != .end {}
    #expect(conversation.connection.answer(number)?.persistence == .open)
  }

  @Test func `a client that waits to be invited and isn't may send its body or not, so the connection closes`() throws {
    var conversation = Conversation()
    conversation.receive(post(length: 1, "Expect: 100-continue"))
    let number = try conversation.nextHead()
    #expect(conversation.connection.phase == .body)
    #expect(conversation.connection.answer(number)?.persistence == .close)
    #expect(conversation.next() == .closeOutput)
  }

  @Test func `an invited client can be refused early like others`() throws {
    var conversation = Conversation()
    conversation.receive(post(length: 1, "Expect: 100-continue"))
    let number = try conversation.nextHead()
    #expect(conversation.next() == .writeContinue)
    #expect(conversation.next() == .read)
    #expect(conversation.connection.answer(number)?.persistence == .open)
    #expect(conversation.connection.phase == .draining)
  }

  @Test func `a request without a body can be answered at its head`() throws {
    var conversation = Conversation()
    conversation.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    let number = try conversation.nextHead()
    #expect(conversation.connection.phase == .answering)
    #expect(conversation.connection.answer(number)?.persistence == .open)
    #expect(conversation.next() == .read)
  }

  // MARK: Ends

  @Test func `what comes after the last answer is thrown away up to a bound`() throws {
    var conversation = Conversation(RequestLimits(lingerBytes: 5))
    conversation.receive("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    let number = try conversation.nextHead()
    #expect(conversation.connection.answer(number)?.persistence == .close)
    #expect(conversation.next() == .closeOutput)
    #expect(conversation.next() == .read)
    conversation.receive("GET")
    #expect(conversation.next() == .skip)
    #expect(conversation.next() == .read)
    conversation.receive(" /")
    #expect(conversation.next() == .skip)
    conversation.receive("!")
    #expect(conversation.next() == .close)
    #expect(conversation.next() == .close)
  }

  @Test func `a client that closes its side is still answered for what it sent`() throws {
    var conversation = Conversation()
    conversation.receive(post("/a", length: 0) + post("/b", length: 0) + "GET /c")
    conversation.connection.inputEnded()
    for _ in 0..<2 {
      let number = try conversation.nextHead()
      #expect(conversation.next() == .end)
      #expect(conversation.next() == .wait)
      #expect(conversation.connection.answer(number)?.persistence == .open)
    }
    #expect(conversation.next() == .close, "the third request will never be whole")
  }

  @Test(arguments: [
    "", "\r\n", "GET", "GET / HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1", chunkedHead + "5\r\nhell",
    chunkedHead + "0\r\na: b\r\n",
  ])
  func `a request whose end never comes is not answered`(stream: String) {
    let transcript = reading(stream, ends: true)
    #expect(transcript.events.last == .closed)
    #expect(!transcript.events.contains { if case .answered = $0 { true } else { false } })
    #expect(transcript.refusal == nil)
  }

  @Test func `a client that goes while its body is drained is not waited for`() throws {
    var conversation = Conversation()
    conversation.receive(post(length: 3) + "a")
    let number = try conversation.nextHead()
    #expect(conversation.connection.answer(number)?.persistence == .open)
    #expect(conversation.next() == .skip)
    conversation.connection.inputEnded()
    #expect(conversation.next() == .close)
  }

  @Test func `the last of a connection's requests says that it closes`() throws {
    var conversation = Conversation(RequestLimits(requests: 2))
    conversation.receive(post(length: 0) + post(length: 0) + post(length: 0))
    #expect(conversation.connection.answer(try conversation.nextHead())?.persistence == .open)
    #expect(conversation.connection.answer(try conversation.nextHead())?.persistence == .close)
    #expect(conversation.next() == .closeOutput)
    #expect(conversation.next() == .skip)
  }

  @Test func `an idle connection closes when the server stops`() {
    var conversation = Conversation()
    #expect(conversation.next() == .read)
    conversation.connection.stop()
    #expect(conversation.next() == .close)
  }

  @Test func `a request that has begun when the server stops is answered, and is the last`() throws {
    var conversation = Conversation()
    conversation.receive("POST / HTTP/1.1\r\nHost: h\r\n")
    #expect(conversation.next() == .read)
    conversation.connection.stop()
    #expect(conversation.next() == .read)
    conversation.receive("Content-Length: 1\r\n\r\na" + post(length: 0))
    let number = try conversation.nextHead()
    #expect(conversation.next() == .body)
    #expect(conversation.next() == .end)
    #expect(conversation.connection.answer(number)?.persistence == .close)
    #expect(conversation.next() == .closeOutput)
  }

  @Test func `a request that was drained when the server stops is the last`() throws {
    var conversation = Conversation()
    conversation.receive(post(length: 2))
    #expect(conversation.connection.answer(try conversation.nextHead())?.persistence == .open)
    conversation.connection.stop()
    conversation.receive("ab" + post(length: 0))
    #expect(conversation.next() == .skip)
    // What came behind it isn't read as a request, but it is read: the answer before may still be on its way.
    #expect(conversation.next() == .closeOutput)
    #expect(conversation.next() == .skip)
    #expect(conversation.unread == 0)
    conversation.connection.inputEnded()
    #expect(conversation.next() == .close)
  }

  // MARK: Deadlines

  @Test func `a slow request is answered with 408, an idle connection with nothing`() throws {
    var idle = Conversation()
    #expect(idle.connection.deadlinePassed().action == .close)

    var slow = Conversation()
    slow.receive("GET / HTT")
    #expect(slow.next() == .read)
    guard case .refuse(.tooSlow, let framing) = slow.connection.deadlinePassed().action else {
      Issue.record("no refusal")
      return
    }
    #expect(framing.persistence == .close)
    #expect(ProtocolError.tooSlow.status == 408)
    #expect(slow.next() == .closeOutput)

    var inBody = Conversation()
    inBody.receive(post(length: 2) + "a")
    let number = try inBody.nextHead()
    #expect(inBody.next() == .body)
    guard case .refuse(.tooSlow, _) = inBody.connection.deadlinePassed().action else {
      Issue.record("no refusal")
      return
    }
    #expect(inBody.connection.answer(number) == nil)
  }

  @Test func `the server's own delay is no fault of the client`() throws {
    var conversation = Conversation()
    conversation.receive(post(length: 0))
    let number = try conversation.nextHead()
    #expect(conversation.next() == .end)
    #expect(conversation.connection.deadlinePassed().action == .wait)
    #expect(conversation.connection.answer(number)?.persistence == .open)
  }

  @Test func `draining and closing end with their deadline`() throws {
    var draining = Conversation()
    draining.receive(post(length: 2))
    #expect(draining.connection.answer(try draining.nextHead()) != nil)
    #expect(draining.connection.deadlinePassed().action == .close)
    #expect(draining.connection.phase == .closed)

    var closing = Conversation()
    closing.receive("nonsense\r\n")
    guard case .refuse = closing.next() else {
      Issue.record("no refusal")
      return
    }
    #expect(closing.connection.phase == .closing)
    #expect(closing.connection.deadlinePassed().action == .close)
    #expect(closing.next() == .close)
  }

  // MARK: HEAD

  @Test func `HEAD is answered without a body, and the next request isn't taken for it`() throws {
    var conversation = Conversation()
    conversation.receive("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + post(length: 0) + "HEAD / HTTP/1.1\r\nbad\r\n")
    #expect(conversation.connection.answer(try conversation.nextHead())?.isForHead == true)
    #expect(conversation.connection.answer(try conversation.nextHead())?.isForHead == false)
    guard case .refuse(.missingColon, let framing) = conversation.next() else {
      Issue.record("no refusal")
      return
    }
    #expect(framing.isForHead, "the method was read before the fault")
  }

  @Test func `a fault before the method isn't blamed on the request before`() throws {
    var conversation = Conversation()
    conversation.receive("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n\u{1}")
    #expect(conversation.connection.answer(try conversation.nextHead())?.isForHead == true)
    guard case .refuse(.invalidMethod, let framing) = conversation.next() else {
      Issue.record("no refusal")
      return
    }
    #expect(!framing.isForHead)
  }

  @Test func `every refusal has a status of an error and words of one line`() {
    for refusal in ProtocolError.allCases {
      #expect((400..<600).contains(refusal.status), "\(refusal)")
      #expect(!refusal.reason.isEmpty && !refusal.reason.contains("\n"), "\(refusal)")
      // 500 and 429 are never said: clients of the trade lose data or die on them.
      #expect(![401, 403, 429, 500].contains(refusal.status), "\(refusal)")
    }
  }
}
