import Hiredis
import RedisFixture
import Testing

@Suite struct RedisCommandTests {
  @Test func `a command is an array of strings with their lengths in bytes`() {
    #expect(RedisCommand("PING").encoded == Array("*1\r\n$4\r\nPING\r\n".utf8))
    #expect(
      RedisCommand("SET", "käse", 10, Int64(-3), UInt64.max, [1, 2] as [UInt8], [9, 8, 7][1...] as ArraySlice<UInt8>)
        .encoded
        == Array("*7\r\n$3\r\nSET\r\n$5\r\nkäse\r\n$2\r\n10\r\n$2\r\n-3\r\n$20\r\n18446744073709551615\r\n$2\r\n".utf8)
        + [1, 2] + Array("\r\n$2\r\n".utf8) + [8, 7] + Array("\r\n".utf8))
  }

  @Test func `arguments of any bytes and any length come through`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<300 {
      let arguments = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
        (0..<[0, 1, 9, 10, 11, 99, 100, 1000].randomElement(using: &generator)!).map { _ in
          Bool.random(using: &generator) ? UInt8.random(in: 0...255, using: &generator) : UInt8(ascii: "\r")
        }
      }
      let command = RedisCommand("ECHO", arguments: arguments)
      #expect(parsedCommands(command.encoded) == [[Array("ECHO".utf8)] + arguments])
      #expect(command.argumentCount == arguments.count)
    }
  }

  @Test func `a command made piece by piece is the same as one made at once`() {
    var encoder = RedisCommandEncoder("RPUSH", argumentCount: 3, reservingBytes: 100)
    encoder.append("list".utf8)
    encoder.append([0, 13, 10])
    encoder.append([] as [UInt8])
    let command = encoder.finish()
    #expect(command.encoded == RedisCommand("RPUSH", "list", [0, 13, 10] as [UInt8], "").encoded)
    #expect(command.argumentCount == 3)
  }

  @Test func `a command with fewer or more arguments than announced is a mistake of the program`() async {
    await #expect(processExitsWith: .failure) {
      var encoder = RedisCommandEncoder("GET", argumentCount: 2)
      encoder.append([1])
      _ = encoder.finish()
    }
  }

  @Test func `a command's description shows no argument`() {
    let command = RedisCommand("AUTH", "user", "hunter2")
    #expect("\(command)" == "AUTH (2 arguments)")
  }
}
