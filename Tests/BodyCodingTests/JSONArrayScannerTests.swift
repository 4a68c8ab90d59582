import Foundation
import RedisFixture
import Testing

@testable import BodyCoding

struct JSONArrayScannerTests {
  typealias Outcome = Result<Int, EventCount.Failure>

  private static let counted: [(text: String, count: Int)] = [
    ("[]", 0), (" \t\r\n[ \t\r\n] \t\r\n", 0), ("[1]", 1), ("[1,2]", 2), (" [ 1 , 2 ] ", 2), ("[[]]", 1), ("[{}]", 1),
    ("[[],[]]", 2), ("[[[],[]],{}]", 2), ("[\"\"]", 1), ("[\"\",\"\"]", 2), ("[\"a,b\",\"]\"]", 2),
    (#"["\"",1]"#, 2), (#"["\\",1]"#, 2), (#"["\\\"",1]"#, 2), (#"["\\\\\\",1]"#, 2), (#"["\u005D\"],",1]"#, 2),
    (#"[{"a":[1,{"b":"]}\"}"}],"c":-1.5e+10},null,true,false,-0.5E-3]"#, 5),
    (#"[{"ключ":"值","é":[]},"😀"]"#, 2), ("[{\"a\":1},\n {\"a\":2},\n {\"a\":3}]\n", 3),
    (#"[{"time":"2026-11-21T06:59:12Z","samplerate":4,"data":{"name":"GET /","ms":12.75}},{"data":{}}]"#, 2),
  ]

  private static let refused: [(text: String, failure: EventCount.Failure)] = [
    ("", .unexpected(nil, at: 0, expected: .array)), (" \n", .unexpected(nil, at: 2, expected: .array)),
    ("{}", .unexpected(0x7B, at: 0, expected: .array)), (" 1", .unexpected(0x31, at: 1, expected: .array)),
    ("]", .unexpected(0x5D, at: 0, expected: .array)), ("\"[]\"", .unexpected(0x22, at: 0, expected: .array)),
    ("\u{FEFF}[1]", .unexpected(0xEF, at: 0, expected: .array)),
    ("[", .unexpected(nil, at: 1, expected: .valueOrEnd)), ("[ ", .unexpected(nil, at: 2, expected: .valueOrEnd)),
    ("[,1]", .unexpected(0x2C, at: 1, expected: .valueOrEnd)), ("[:]", .unexpected(0x3A, at: 1, expected: .valueOrEnd)),
    ("[}", .unexpected(0x7D, at: 1, expected: .valueOrEnd)), ("[x]", .unexpected(0x78, at: 1, expected: .valueOrEnd)),
    ("[+1]", .unexpected(0x2B, at: 1, expected: .valueOrEnd)),
    ("[.5]", .unexpected(0x2E, at: 1, expected: .valueOrEnd)),
    ("['a']", .unexpected(0x27, at: 1, expected: .valueOrEnd)), ("[\0]", .unexpected(0, at: 1, expected: .valueOrEnd)),
    ("[1,", .unexpected(nil, at: 3, expected: .value)), ("[1,]", .unexpected(0x5D, at: 3, expected: .value)),
    ("[1, ,2]", .unexpected(0x2C, at: 4, expected: .value)), ("[1,}]", .unexpected(0x7D, at: 3, expected: .value)),
    ("[1", .unexpected(nil, at: 2, expected: .commaOrEnd)), ("[{}", .unexpected(nil, at: 3, expected: .commaOrEnd)),
    ("[1 2]", .unexpected(0x32, at: 3, expected: .commaOrEnd)),
    ("[1\"a\"]", .unexpected(0x22, at: 2, expected: .commaOrEnd)),
    ("[\"a\" \"b\"]", .unexpected(0x22, at: 5, expected: .commaOrEnd)),
    ("[\"a\"1]", .unexpected(0x31, at: 4, expected: .commaOrEnd)),
    ("[{}{}]", .unexpected(0x7B, at: 3, expected: .commaOrEnd)),
    ("[[][]]", .unexpected(0x5B, at: 3, expected: .commaOrEnd)),
    ("[1[]]", .unexpected(0x5B, at: 2, expected: .commaOrEnd)),
    ("[1}", .unexpected(0x7D, at: 2, expected: .commaOrEnd)),
    ("[1:2]", .unexpected(0x3A, at: 2, expected: .commaOrEnd)),
    ("[1/**/]", .unexpected(0x2F, at: 2, expected: .commaOrEnd)),
    ("[null\0]", .unexpected(0, at: 5, expected: .commaOrEnd)),
    ("[1é]", .unexpected(0xC3, at: 2, expected: .commaOrEnd)),
    ("[\"a", .unexpected(nil, at: 3, expected: .stringEnd)), ("[\"a\\", .unexpected(nil, at: 4, expected: .stringEnd)),
    ("[\"a\\\"]", .unexpected(nil, at: 6, expected: .stringEnd)),
    ("[{\"a", .unexpected(nil, at: 4, expected: .stringEnd)),
    ("[{", .unexpected(nil, at: 2, expected: .restOfObject)), ("[[", .unexpected(nil, at: 2, expected: .restOfArray)),
    ("[{\"a\":[]", .unexpected(nil, at: 8, expected: .restOfObject)),
    ("[{]", .unexpected(0x5D, at: 2, expected: .restOfObject)),
    ("[[}]", .unexpected(0x7D, at: 2, expected: .restOfArray)),
    ("[{\"a\":[1}]}]", .unexpected(0x7D, at: 8, expected: .restOfArray)),
    // A reader that knows these could find an end where there is none for us.
    ("[{'a\"':1},{'b\"':2}]", .unexpected(0x27, at: 2, expected: .restOfObject)),
    ("[[/*\"*/],[/*\"*/]]", .unexpected(0x2F, at: 2, expected: .restOfArray)),
    ("[{\\\"a\\\":1}]", .unexpected(0x5C, at: 2, expected: .restOfObject)),
    ("[1]]", .unexpected(0x5D, at: 3, expected: .nothing)), ("[1],", .unexpected(0x2C, at: 3, expected: .nothing)),
    ("[1] [2]", .unexpected(0x5B, at: 4, expected: .nothing)), ("[]\0", .unexpected(0, at: 2, expected: .nothing)),
  ]

  /// Reads in pieces of these sizes by turns.
  private static func outcome(_ body: [UInt8], inPiecesOf sizes: [Int], limit: Int = 10_000) -> Outcome {
    var scanner = JSONArrayScanner(limit: limit)
    var (rest, turn) = (body[...], 0)
    while !rest.isEmpty {
      let piece = rest.prefix(sizes[turn % sizes.count])
      rest = rest.dropFirst(piece.count)
      turn += 1
      if scanner.read(piece.span.bytes) == .enough { break }
    }
    do throws(EventCount.Failure) { return .success(try scanner.count()) } catch { return .failure(error) }
  }

  private static func outcome(_ body: [UInt8], limit: Int = 10_000) -> Outcome {
    outcome(body, inPiecesOf: [max(1, body.count)], limit: limit)
  }

  @Test(arguments: counted)
  func `the elements of an array are counted, and nothing within them`(text: String, count: Int) throws {
    #expect(Self.outcome(Array(text.utf8)) == .success(count))
    let foundation = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [Any]
    #expect(foundation?.count == count, "the table is wrong")
  }

  @Test(arguments: refused)
  func `what isn't an array from its beginning to its end is refused, with the place`(
    text: String, failure: EventCount.Failure
  ) {
    #expect(Self.outcome(Array(text.utf8)) == .failure(failure))
  }

  @Test(arguments: counted.map(\.text) + refused.map(\.text))
  func `wherever a text is cut, the outcome is the same`(text: String) {
    let body = Array(text.utf8)
    let whole = Self.outcome(body)
    #expect(Self.outcome(body, inPiecesOf: [1]) == whole)
    for first in 1..<max(2, body.count) {
      #expect(Self.outcome(body, inPiecesOf: [first, body.count]) == whole, "cut after \(first)")
    }
  }

  @Test func `every beginning of an array is known to be cut off`() {
    for (text, _) in Self.counted {
      let body = Array(text.utf8)
      let end = body.lastIndex(of: UInt8(ascii: "]")) ?? body.endIndex
      for length in 0..<end {
        guard case .failure(.unexpected(nil, at: length, _)) = Self.outcome(Array(body.prefix(length))) else {
          Issue.record("\(text): the first \(length) bytes")
          continue
        }
      }
    }
  }

  @Test func `a quotation mark or a backslash is found wherever it stands, among bytes that look alike`() {
    // The same with a bit more or less.
    let alike: [UInt8] = [0x21, 0x23, 0x20, 0xA2, 0x5B, 0x5D, 0xDC, 0x5E, 0x01, 0xFF]
    var generator = SeededGenerator.announced()
    for length in 0..<40 {
      let string = (0..<length).map { _ in alike.randomElement(using: &generator) ?? 0 }
      #expect(Self.outcome([0x5B, 0x22] + string + [0x22, 0x2C, 0x31, 0x5D]) == .success(2), "\(string)")
      for place in 0..<length {
        var ended = string
        ended[place] = 0x22
        let after = [0x5B, 0x22] + ended + [0x22]
        // What follows the early end is no comma.
        let found = place + 1 < length ? ended[place + 1] : 0x22
        let isSpace = found == 0x20
        if found != 0x5D && !isSpace {
          #expect(Self.outcome(after) == .failure(.unexpected(found, at: place + 3, expected: .commaOrEnd)), "\(ended)")
        }
        // Escaped it is no end, and neither is the other of the two.
        for escaped: UInt8 in [0x22, 0x5C] where place + 1 < length {
          ended = string
          (ended[place], ended[place + 1]) = (0x5C, escaped)
          #expect(Self.outcome([0x5B, 0x22] + ended + [0x22, 0x5D]) == .success(1), "\(ended)")
        }
      }
    }
  }

  @Test(arguments: ["[", "{\"a\":"])
  func `as deep as the limit is deep enough, and one level more is too deep`(opening: String) {
    let closing = opening == "[" ? "]" : "}"
    let depth = JSONArrayScanner.deepest
    func nested(_ levels: Int) -> [UInt8] {
      let inner = levels - 1
      return Array(
        ("[" + String(repeating: opening, count: inner) + "1" + String(repeating: closing, count: inner) + ",2]").utf8)
    }
    #expect(depth == 64)
    #expect(Self.outcome(nested(depth)) == .success(2))
    let place = 1 + (depth - 1) * opening.utf8.count
    for sizes in [[1 << 20], [1], [63, 2]] {
      #expect(Self.outcome(nested(depth + 1), inPiecesOf: sizes) == .failure(.tooDeep(limit: depth, at: place)))
    }
    // The brackets' kinds are still known at the bottom and at the top.
    var crossed = nested(depth)
    crossed[crossed.count - 4] = closing == "]" ? 0x7D : 0x5D
    guard case .failure(.unexpected(_, at: crossed.count - 4, _)) = Self.outcome(crossed) else {
      Issue.record("a wrong bracket passed")
      return
    }
  }

  @Test func `as many elements as the limit are counted, and at the next one the scanner stops`() {
    let elements = ["1", "\"a\"", "{}", "[]", "null"]
    for (number, element) in elements.enumerated() {
      let body = Array(("[" + Array(repeating: "0,", count: 9).joined() + element + "]").utf8)
      #expect(Self.outcome(body, limit: 10) == .success(10), "\(number)")
      #expect(Self.outcome(body, limit: 9) == .failure(.tooMany(limit: 9)), "\(number)")
    }
    #expect(Self.outcome(Array("[]".utf8), limit: 0) == .success(0))
    #expect(Self.outcome(Array("[{".utf8), limit: 0) == .failure(.tooMany(limit: 0)))
    var scanner = JSONArrayScanner(limit: 1)
    #expect(scanner.read("[1,2".utf8.span.bytes) == .enough)
    #expect(scanner.read("]".utf8.span.bytes) == .enough)
  }

  @Test func `random arrays have as many elements as they were made of, however they are cut`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<300 {
      let array = RandomArray(using: &generator)
      #expect(Self.outcome(array.json) == .success(array.count), "\(array)")
      let sizes = (0..<5).map { _ in Int.random(in: 1...40, using: &generator) }
      #expect(Self.outcome(array.json, inPiecesOf: sizes) == .success(array.count), "pieces of \(sizes) of \(array)")
    }
  }

  @Test func `an array that was damaged is counted as another reader counts it, if that one takes it`() throws {
    var generator = SeededGenerator.announced()
    let signs = Array("[]{},:\"\\ 1ae.-".utf8)
    var taken = 0
    for _ in 0..<3_000 {
      var body = RandomArray(using: &generator, elements: 0...4).json
      for _ in 0..<Int.random(in: 1...2, using: &generator) where !body.isEmpty {
        let place = Int.random(in: 0..<body.count, using: &generator)
        let sign = signs.randomElement(using: &generator) ?? 0
        switch Int.random(in: 0...2, using: &generator) {
        case 0: body.remove(at: place)
        case 1: body.insert(sign, at: place)
        default: body[place] = sign
        }
      }
      let outcome = Self.outcome(body)
      let sizes = (0..<3).map { _ in Int.random(in: 1...9, using: &generator) }
      #expect(Self.outcome(body, inPiecesOf: sizes) == outcome)
      // Not being taken is no more than that: a reader that is stricter than the scanner has to be.
      guard let array = try? JSONSerialization.jsonObject(with: Data(body)) as? [Any] else { continue }
      // Foundation takes a comma after the last element. Whether an element was meant there is anybody's guess.
      if case .failure(.unexpected(UInt8(ascii: "]"), _, expected: .value)) = outcome { continue }
      taken += 1
      #expect(outcome == .success(array.count), "\(String(decoding: body, as: UTF8.self))")
    }
    #expect(taken > 100, "too few were taken to have shown anything")
  }
}
