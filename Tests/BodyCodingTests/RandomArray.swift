import RedisFixture

/// A batch as clients could write it, in any layout that JSON allows, made at random of a known number of elements.
struct RandomArray: CustomStringConvertible {
  let json: [UInt8]
  let count: Int

  init(using generator: inout SeededGenerator, elements: ClosedRange<Int> = 0...12) {
    count = Int.random(in: elements, using: &generator)
    var writer = Writer(generator: generator)
    let values = (0..<count).map { _ in writer.value(depth: 0) }
    json = Array(
      (writer.space() + "[" + (count == 0 ? writer.space() : values.joined(separator: ",")) + "]" + writer.space()).utf8
    )
    generator = writer.generator
  }

  var description: String { String(decoding: json, as: UTF8.self) }

  private struct Writer {
    var generator: SeededGenerator

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }

    mutating func one(of choices: [String]) -> String { choices[number(0...choices.count - 1)] }

    mutating func space() -> String { one(of: ["", "", "", " ", "\n", "\t \r\n", "        "]) }

    mutating func value(depth: Int) -> String {
      let bare =
        switch number(0...(depth < 5 ? 5 : 3)) {
        case 0: one(of: ["0", "-1", "12.5", "1e5", "-0.25E-7", "123456789"])
        case 1: one(of: ["true", "false", "null"])
        case 2, 3: string()
        case 4: "[" + list { $0.value(depth: depth + 1) } + "]"
        default: "{" + list { $0.member(depth: depth + 1) } + "}"
        }
      return space() + bare + space()
    }

    mutating func member(depth: Int) -> String {
      // Keys must differ for readers that are strict about it.
      "\(space())\"\(generator.next())\(string().dropFirst())\(space()):\(value(depth: depth))"
    }

    mutating func list(_ item: (inout Self) -> String) -> String {
      let count = number(0...4)
      return count == 0 ? space() : (0..<count).map { _ in item(&self) }.joined(separator: ",")
    }

    mutating func string() -> String {
      let parts = [
        "a", "quite a few letters", ",", "[", "]", "{", "}", ":", "'", "/*", "é", "值", "😀", "\\\"", "\\\\", "\\/",
        "\\n",
        "\\u005d", "\\u0022", "\\ud83d\\ude00",
      ]
      return "\"" + (0..<number(0...6)).map { _ in one(of: parts) }.joined() + "\""
    }
  }
}
