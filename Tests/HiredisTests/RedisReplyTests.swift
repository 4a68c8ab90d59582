import Hiredis
import Testing

@Suite struct RedisReplyTests {
  /// One reply of every kind.
  static let all: [RedisReply] = [
    .status("OK"), .status("QUEUED"), .bulk(Array("text".utf8)), .bulk([]), .integer(0), .integer(7), .array([]),
    .array([.null]), .null, .error(RedisServerError(message: "ERR no")),
  ]

  /// Reads every kind of reply with one reader; checks that only these give a value, and that the others throw.
  private func expect<Value: Equatable>(
    _ reader: (RedisReply) throws -> Value, accepts accepted: [(RedisReply, Value)],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for reply in Self.all {
      let wanted = accepted.first { $0.0 == reply }?.1
      do {
        let value = try reader(reply)
        #expect(value == wanted, "from \(reply)", sourceLocation: sourceLocation)
      } catch let error as RedisServerError {
        #expect(reply == .error(error), sourceLocation: sourceLocation)
        #expect(wanted == nil, sourceLocation: sourceLocation)
      } catch {
        #expect(error is UnexpectedReply, sourceLocation: sourceLocation)
        #expect(wanted == nil, "from \(reply)", sourceLocation: sourceLocation)
      }
    }
  }

  @Test func `each typed reader takes its own shape and throws on all others`() {
    let text = Array("text".utf8)
    expect({ try $0.integer() }, accepts: [(.integer(0), 0), (.integer(7), 7)])
    expect({ try $0.bytes() }, accepts: [(.bulk(text), text), (.bulk([]), [])])
    expect({ try $0.string() }, accepts: [(.bulk(text), "text"), (.bulk([]), "")])
    expect({ try $0.array() }, accepts: [(.array([]), []), (.array([.null]), [.null])])
    expect({ try $0.bytesOrNull() }, accepts: [(.bulk(text), text), (.bulk([]), []), (.null, nil)])
    expect({ try $0.stringOrNull() }, accepts: [(.bulk(text), "text"), (.bulk([]), ""), (.null, nil)])
    expect({ try $0.arrayOrNull() }, accepts: [(.array([]), []), (.array([.null]), [.null]), (.null, nil)])
    expect(
      {
        try $0.ok()
        return true
      }, accepts: [(.status("OK"), true)])
  }

  @Test func `only an error reply is thrown by orThrow`() throws {
    for reply in Self.all {
      if case .error(let error) = reply {
        #expect(throws: error) { try reply.orThrow() }
      } else {
        #expect(try reply.orThrow() == reply)
      }
    }
  }

  @Test func `text that isn't UTF-8 is no string`() {
    #expect(throws: UnexpectedReply.self) { try RedisReply.bulk([0xff]).string() }
    #expect(throws: UnexpectedReply.self) { try RedisReply.bulk([0xff]).stringOrNull() }
  }

  @Test func `a mismatch names both shapes and no contents`() throws {
    let error = #expect(throws: UnexpectedReply.self) { try RedisReply.bulk(Array("hunter2".utf8)).integer() }
    #expect(error.map { "\($0)" } == "expected an integer from Redis, got a string of 7 bytes")
  }

  @Test(arguments: [
    ("NOSCRIPT No matching script.", "NOSCRIPT"), ("ERR syntax error", "ERR"), ("OOM", "OOM"),
    ("no code at all", "ERR"), ("", "ERR"), (" leading", "ERR"), ("Mixed Case", "ERR"),
  ])
  func `an error's code is its first word in capitals`(message: String, code: String) {
    #expect(RedisServerError(message: message).code == code)
    #expect(RedisServerError(message: message).message == message)
  }

  @Test func `errors that may pass are told from those that won't`() {
    for code in ["LOADING", "OOM", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "MISCONF", "MOVED", "CLUSTERDOWN"] {
      #expect(RedisServerError(message: "\(code) for now").isPassing)
    }
    for code in ["ERR", "WRONGTYPE", "NOSCRIPT", "NOAUTH", "WRONGPASS", "NOPERM"] {
      #expect(!RedisServerError(message: "\(code) for good").isPassing)
    }
  }
}
