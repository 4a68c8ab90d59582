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
    #expect(try lines("one\n\nthree\r\nlast\n", chunk: chunk) == ["one", "", "three\r", "last"])
    #expect(try lines("one\ntwo\n", chunk: chunk) == ["one", "two"])
  }

  @Test(arguments: [1, 3, 1000]) func `a last line without a line feed is an error`(chunk: Int) throws {
    for text in ["x", "one\nx", "\n\r"] {
      #expect(throws: LineReader.Cut.self) { try lines(text, chunk: chunk) }
    }
  }

  @Test(arguments: [1, 3, 1000]) func `a line has a bound, with or without an end`(chunk: Int) throws {
    #expect(try lines("12345\n12345\n", chunk: chunk, limit: 5) == ["12345", "12345"])
    #expect(throws: LineReader.TooLong.self) { try lines("12345\n123456\n", chunk: chunk, limit: 5) }
    #expect(throws: LineReader.TooLong.self) { try lines("12345\n123456", chunk: chunk, limit: 5) }
  }

  /// Whatever is piped in is written in pieces by another thread, and never held as a whole.
  private func peakCapacity(of piece: [UInt8], times: Int) throws -> (lines: Int, capacity: Int, failure: (any Error)?)
  {
    let pipe = Pipe()
    let writing = pipe.fileHandleForWriting
    let writer = Thread {
      do {
        for _ in 0..<times { try writing.write(contentsOf: piece) }
        try writing.close()
      } catch {
        // The reader gave up.
      }
    }
    signal(SIGPIPE, SIG_IGN)
    writer.start()
    var reader = LineReader(pipe.fileHandleForReading)
    var (lines, capacity) = (0, 0)
    do {
      while try reader.next() != nil {
        lines += 1
        if lines.isMultiple(of: 1000) { capacity = max(capacity, reader.capacity) }
      }
    } catch {
      try pipe.fileHandleForReading.close()
      return (lines, max(capacity, reader.capacity), error)
    }
    return (lines, max(capacity, reader.capacity), nil)
  }

  @Test func `a gigabyte of lines takes the memory of a read and a line`() throws {
    let line = [UInt8](repeating: UInt8(ascii: "x"), count: 4095) + [UInt8(ascii: "\n")]
    let piece = Array(repeatElement(line, count: 64).joined())
    let read = try peakCapacity(of: piece, times: 4096)
    #expect(read.failure == nil && read.lines == 64 * 4096)
    #expect(read.capacity < 4 << 20)
  }

  @Test func `millions of empty lines take no more`() throws {
    let read = try peakCapacity(of: [UInt8](repeating: UInt8(ascii: "\n"), count: 1 << 16), times: 64)
    #expect(read.failure == nil && read.lines == 4 << 20)
    #expect(read.capacity < 4 << 20)
  }

  @Test func `a line without an end is given up within a read`() throws {
    let read = try peakCapacity(of: [UInt8](repeating: UInt8(ascii: "\""), count: 1 << 16), times: 1 << 20)
    #expect(read.failure is LineReader.TooLong && read.lines == 0)
    #expect(read.capacity < 4 << 20)
  }
}
