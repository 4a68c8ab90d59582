// The number of events in a batch, without keeping its decoded bytes. Clients of Honeycomb push arrays and expect an
// answer with one status for each event. So a node must know their number, and nothing else, before the worker looks at
// the batch.
//
// Rejected: parsing the batch. It would hold the whole batch in memory several times, and take longer than everything
// else that a node does for a push. So JSON is scanned as it leaves the decoder. In msgpack the number is at the
// beginning, so only the beginning is decoded. Readers of the stored payload interpret the events. The count only says
// how many elements the batch has, not that each is a valid event.

internal import Bytes

/// The number of events in a batch.
package enum EventCount {
  /// The format of a batch.
  package enum Format: Sendable, CaseIterable {
    case json
    case msgpack
  }

  /// Why the events can't be counted. Offsets are in bytes from the beginning of the decoded batch.
  package enum Failure: Error, Equatable {
    /// The body can't be decompressed.
    case undecodable(Decompression.Failure)
    /// Another byte than expected was found; nil stands for the end.
    case unexpected(UInt8?, at: Int, expected: Expectation)
    /// Arrays and objects are nested deeper than the limit, including the batch itself.
    case tooDeep(limit: Int, at: Int)
    /// There are more events than the limit.
    case tooMany(limit: Int)
    /// The header announces more events than the body can contain: at most `bytes` bytes follow, and the smallest event
    /// has one.
    case tooShort(announced: Int, bytes: Int)
  }

  package enum Expectation: String, Sendable {
    case array = "an array"
    case value = "a value"
    case valueOrEnd = "a value or ']'"
    case commaOrEnd = "',' or ']'"
    case stringEnd = "the end of a string"
    case restOfObject = "the rest of an object"
    case restOfArray = "the rest of an array"
    case nothing = "nothing after the array"
    case messagePackArray = "a msgpack array"
    case messagePackLength = "the rest of a msgpack array's length"
  }

  /// Counts the elements of a body that is one array.
  ///
  /// All JSON is read: the array must end, only white space may follow, and a compressed body must decode to its end.
  /// For msgpack only the array's header is read, so later errors aren't found, not even those of the compression.
  /// - Parameters:
  ///   - compression: The body's compression; nil if there is none.
  ///   - bounds: Limits of a compressed body's output.
  ///   - limit: Maximum events. Counting ends as soon as a batch is known to have more.
  ///   - room: Bytes that are decoded at a time. It affects only the speed, unless the body is corrupt.
  package static func count(
    in body: RawSpan, format: Format, compression: CompressionFormat?, within bounds: DecodedBounds,
    limit: Int = 10_000, room: Int = 64 << 10
  ) throws(Failure) -> Int {
    switch format {
    case .json:
      var scanner = JSONArrayScanner(limit: limit)
      return try count(&scanner, body, compression, bounds, room: room)
    case .msgpack:
      let most = compression == nil ? body.byteCount : bounds.bytes(from: body.byteCount)
      var header = MessagePackArrayHeader(limit: limit, bytes: most)
      return try count(&header, body, compression, bounds, room: MessagePackArrayHeader.longest)
    }
  }

  private static func count(
    _ counter: inout some EventCounter, _ body: RawSpan, _ compression: CompressionFormat?, _ bounds: DecodedBounds,
    room: Int
  ) throws(Failure) -> Int {
    if let compression {
      do throws(Decompression.Failure) {
        try Decompression.pieces(of: body, as: compression, within: bounds, room: room) { counter.read($0) }
      } catch {
        throw .undecodable(error)
      }
    } else {
      _ = counter.read(body)
    }
    return try counter.count()
  }
}

/// Counts events in input that arrives in pieces. The result doesn't depend on how the input is cut.
protocol EventCounter {
  /// Returns `.enough` as soon as the result can't change, whether it is a number or a failure.
  mutating func read(_ piece: RawSpan) -> Decompression.Demand

  /// The result, after `read` returned `.enough` or the input ended.
  func count() throws(EventCount.Failure) -> Int
}

extension EventCount.Failure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .undecodable(let failure): "the body can't be decoded: \(failure)"
    case .unexpected(let byte, let offset, let expected):
      "expected \(expected.rawValue) at byte \(offset), got \(byte.map(Self.name) ?? "the end")"
    case .tooDeep(let limit, let offset): "at byte \(offset) the nesting is deeper than \(limit) levels"
    case .tooMany(let limit): "there are more than \(limit) events"
    case .tooShort(let announced, let bytes):
      "the array announces \(announced) events, but at most \(bytes) bytes follow"
    }
  }

  private static func name(_ byte: UInt8) -> String {
    if 0x21..<0x7F ~= byte { return "'\(UnicodeScalar(byte))'" }
    return "the byte 0x\(byte.hexDigits(uppercase: true))"
  }
}
