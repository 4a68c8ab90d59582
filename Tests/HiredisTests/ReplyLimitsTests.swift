import Hiredis
import RedisFixture
import Testing

@Suite struct ReplyLimitsTests {
  /// The error that the stream ends with, or nil; the same whether it comes whole or in pieces.
  private func failure(
    of stream: [UInt8], limits: ReplyLimits, sourceLocation: SourceLocation = #_sourceLocation
  ) -> ReplyError? {
    func failure(_ pieces: [ArraySlice<UInt8>]) -> ReplyError? {
      var reader = ReplyReader(limits: limits)
      do throws(ReplyError) {
        for piece in pieces {
          try reader.feed(Array(piece))
          while try reader.next() != nil {}
        }
        return nil
      } catch {
        return error
      }
    }
    let whole = failure([stream[...]])
    // Single bytes of a long line would take as many looks through all of it.
    let step = stream.count < 2000 ? 1 : 999
    let pieces = stride(from: 0, to: stream.count, by: step).map { stream[$0..<min($0 + step, stream.count)] }
    #expect((failure(pieces) == nil) == (whole == nil), sourceLocation: sourceLocation)
    return whole
  }

  private func isOverLimit(_ text: String, elements: Int = 10, bytes: Int = 100) -> Bool {
    if case .overLimit = failure(of: Array(text.utf8), limits: ReplyLimits(elements: elements, bytes: bytes)) {
      return true
    }
    return false
  }

  private func passes(_ text: String, elements: Int = 10, bytes: Int = 100) -> Bool {
    failure(of: Array(text.utf8), limits: ReplyLimits(elements: elements, bytes: bytes)) == nil
  }

  @Test func `as many elements as allowed pass, one more doesn't`() {
    #expect(passes("*10\r\n" + String(repeating: ":1\r\n", count: 10)))
    #expect(isOverLimit("*11\r\n"))
    #expect(isOverLimit("*2147483647\r\n"))
  }

  @Test func `the elements of all arrays of one reply count together`() {
    #expect(passes("*2\r\n*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n"))
    #expect(isOverLimit("*2\r\n*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n*5\r\n"))
  }

  @Test func `as many bytes as allowed pass, one more doesn't`() {
    #expect(passes("$100\r\n\(String(repeating: "x", count: 100))\r\n"))
    #expect(isOverLimit("$101\r\n\(String(repeating: "x", count: 101))\r\n"))
  }

  @Test func `the strings of one reply count together`() {
    let half = "$50\r\n\(String(repeating: "x", count: 50))\r\n"
    #expect(passes("*2\r\n\(half)\(half)"))
    #expect(isOverLimit("*3\r\n\(half)\(half)+x\r\n"))
  }

  @Test func `pipelined replies don't count together`() {
    let whole = "$100\r\n\(String(repeating: "x", count: 100))\r\n" + "*10\r\n" + String(repeating: ":1\r\n", count: 10)
    let stream = Array(String(repeating: whole, count: 50).utf8)
    let limits = ReplyLimits(elements: 10, bytes: 100)
    #expect(Reading(stream, limits: limits).replies.count == 100)
    #expect(Reading(stream.oneByOne, limits: limits).replies.count == 100)
  }

  @Test func `a string that was announced too long is refused before all of it was buffered`() throws {
    var reader = ReplyReader(limits: ReplyLimits(elements: 10, bytes: 1000))
    try reader.feed(Array("$1000000000\r\n".utf8))
    #expect(try reader.next() == nil)
    let piece = [UInt8](repeating: 120, count: 100)
    var fed = 0
    let error = #expect(throws: ReplyError.self) {
      while fed < 100_000 {
        try reader.feed(piece)
        fed += piece.count
        _ = try reader.next()
      }
    }
    guard case .overLimit = error else { throw UnexpectedReply(expected: "over the limit", came: "\(error as Any)") }
    #expect(fed <= 1200)
  }

  @Test func `a line has a limit of its own, whatever strings may be`() {
    let longest = String(repeating: "x", count: ReplyReader.longestLine)
    #expect(passes("+\(longest)\r\n", bytes: 1 << 20))
    #expect(passes("-\(longest)\r\n", bytes: 1 << 20))
    #expect(isOverLimit("+\(longest)x\r\n", bytes: 1 << 20))
    #expect(isOverLimit("+\(longest)xx", bytes: 1 << 20))
    #expect(isOverLimit("*1\r\n-\(longest)xx", bytes: 1 << 20))
    #expect(isOverLimit(":\(longest)xx", bytes: 1 << 20))
  }

  @Test func `a string's length must end`() {
    // A lone carriage return is no line end.
    for text in ["$" + String(repeating: "1", count: 40), "$1\r" + String(repeating: "1", count: 40)] {
      guard case .malformed = failure(of: Array(text.utf8), limits: ReplyLimits()) else {
        Issue.record("\(text) was taken")
        return
      }
    }
  }

  @Test func `eight levels of arrays pass, nine don't`() {
    let eight = String(repeating: "*1\r\n", count: 8)
    #expect(Reading(Array((eight + ":7\r\n").utf8)).replies.count == 1)
    let nine = failure(of: Array((eight + "*1\r\n:7\r\n").utf8), limits: ReplyLimits())
    guard case .malformed = nine else {
      Issue.record("nine levels: \(nine as Any)")
      return
    }
  }

  @Test func `limits beyond what hiredis can measure are taken as the most that it can`() throws {
    var reader = ReplyReader(limits: ReplyLimits(elements: .max, bytes: .max))
    try reader.feed(Array("*2\r\n$2\r\nab\r\n:1\r\n*2147483647\r\n$9223372036854775807\r\nx".utf8))
    #expect(try reader.next() == .array([.bulk([97, 98]), .integer(1)]))
    #expect(try reader.next() == nil)
  }
}
