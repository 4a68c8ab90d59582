// Reads the lines of a key list from any file or pipe, including endless lines, gigabytes of empty lines, and pipes
// that never end.
//
// Memory is limited to one line and one read: consumed bytes are released before each read, and a line is rejected as
// soon as it is longer than the limit. Rejected: FileHandle's own line sequence, which holds a line of any length.

public import Foundation

/// The lines of a file or pipe, of bounded length, in bounded memory.
public struct LineReader {
  private let file: FileHandle
  private let chunkSize: Int
  private let lineLimit: Int
  private var buffer: [UInt8] = []
  private var position = 0
  private var ended = false
  /// Bytes read from the file so far.
  public private(set) var bytesRead = 0
  /// The memory of the buffer in bytes; for tests.
  var capacity: Int { buffer.capacity }

  public init(_ file: FileHandle, chunkSize: Int = 1 << 20, lineLimit: Int = 64 << 10) {
    self.file = file
    self.chunkSize = chunkSize
    self.lineLimit = lineLimit
    buffer.reserveCapacity(chunkSize + lineLimit + 1)
  }

  /// A line was longer than the limit.
  public struct TooLong: Error, CustomStringConvertible {
    public let limit: Int
    public var description: String { "the line is longer than \(limit) bytes" }
  }

  /// The last line doesn't end with a line feed.
  public struct Cut: Error, CustomStringConvertible {
    public var description: String {
      "expected a line feed at the end of the last line, found none: the list may have been cut off here. Export it again, or, "
        + "if this is its end, add the line feed"
    }
  }

  /// The next line without its end; nil after the last one.
  /// - Throws: ``Cut`` if the last line doesn't end with a line feed: a part of a line often looks like a whole one.
  public mutating func next() throws -> ArraySlice<UInt8>? {
    var searched = position
    while true {
      if let end = lineFeed(from: searched) {
        defer { position = end + 1 }
        guard end - position <= lineLimit else { throw TooLong(limit: lineLimit) }
        return buffer[position..<end]
      }
      guard buffer.count - position <= lineLimit else { throw TooLong(limit: lineLimit) }
      if ended {
        guard position < buffer.count else { return nil }
        throw Cut()
      }
      // The last line was returned as a slice of this buffer. If the caller still holds it, this copies the unread
      // rest.
      buffer.removeSubrange(..<position)
      position = 0
      searched = buffer.count
      // A chunk's Data is autoreleased on Darwin only; on Linux it is released at the end of this scope.
      guard let chunk = try file.read(upToCount: chunkSize), !chunk.isEmpty else {
        ended = true
        continue
      }
      bytesRead += chunk.count
      buffer += chunk
    }
  }

  private func lineFeed(from start: Int) -> Int? {
    buffer.withUnsafeBytes { bytes in
      guard start < bytes.count, let base = bytes.baseAddress else { return nil }
      return memchr(base + start, Int32(UInt8(ascii: "\n")), bytes.count - start).map { UnsafeRawPointer($0) - base }
    }
  }
}
