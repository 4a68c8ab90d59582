import Foundation
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct LineReaderTests {
  private func lines(_ text: String, chunk: Int, limit: Int = 100) throws -> [String] {
    let folder = try TemporaryFolder()
    let file = folder.path("lines")
    try text.write(toFile: file, atomically: false, encoding: .utf8)
    var reader = LineReader(
      try #require(FileHandle(forReadingAtPath: file)), chunkSize: chunk, lineLimit: limit)
    var lines: [String] = []
    while let line = try reader.next() { lines.append(String(decoding: line, as: UTF8.self)) }
    #expect(reader.bytesRead == text.utf8.count)
    return lines
  }

  @Test(arguments: [1, 2, 3, 7, 1000]) func `lines are the same however the file is cut`(chunk: Int) throws {
    #expect(try lines("", chunk: chunk) == [])
    #expect(try lines("\n", chunk: chunk) == [""])
    #expect(try lines("one\n\nthree\r\nlast", chunk: chunk) == ["one", "", "three\r", "last"])
    #expect(try lines("one\ntwo\n", chunk: chunk) == ["one", "two"])
  }

  @Test(arguments: [1, 3, 1000]) func `a line has a bound, with or without an end`(chunk: Int) throws {
    #expect(try lines("12345\n12345", chunk: chunk, limit: 5) == ["12345", "12345"])
    #expect(throws: LineReader.TooLong.self) { try lines("12345\n123456\n", chunk: chunk, limit: 5) }
    #expect(throws: LineReader.TooLong.self) { try lines("12345\n123456", chunk: chunk, limit: 5) }
  }
}
