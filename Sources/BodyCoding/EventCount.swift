// How many events a batch holds, without keeping what is decoded. Clients of Honeycomb push arrays and want an answer with one status for
// each of the events, so a node must know their number, and nothing else of them, before the worker ever looks at the batch.
//
// Parsing the batch would tell it too, but would hold all of it in memory, several times over, and take longer than everything else that a
// node does for a push. So JSON is scanned as it comes out of the decoder, and of msgpack, which says the number at its beginning, only
// that beginning is decoded. What the events themselves are is for whoever reads what was stored: a count says only that the batch has so
// many elements, each of which is something.

internal import Bytes

/// The number of events in a batch.
package enum EventCount {
  /// What a batch is written in.
  package enum Format: Sendable, CaseIterable {
    case json
    case msgpack
  }

  /// Why there is no number. Offsets are in bytes from the beginning of what was decoded.
  package enum Failure: Error, Equatable {
    /// The compression can't be undone.
    case undecodable(Decompression.Failure)
    /// Something else came than must; nil if it was the end.
    case unexpected(UInt8?, at: Int, expected: Expectation)
    /// Arrays and objects are nested deeper than the limit, the batch itself counted.
    case tooDeep(limit: Int, at: Int)
    /// There are more events than the limit.
    case tooMany(limit: Int)
    /// So many events are announced, and at most so many bytes come for them; the smallest has one.
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

  /// Counts the elements of the one array that a body is.
  ///
  /// Of JSON everything is read: the array must end, nothing may follow but white space, and what is compressed must decode to its
  /// end. Of msgpack the array's header is read, so that what is wrong behind it, the compression included, isn't seen.
  /// - Parameters:
  ///   - compression: What the body is compressed in; nil if it isn't.
  ///   - bounds: How much may come out of a body that is compressed.
  ///   - limit: The most events. A batch with more is given up where that is known.
  ///   - room: Bytes that are decoded at a time; nothing but speed depends on it, unless the body is corrupt.
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

/// Counts events in what comes piece by piece. Where the pieces are cut makes no difference.
protocol EventCounter {
  /// Wants no more as soon as the outcome can't change, be it a number or a failure.
  mutating func read(_ piece: RawSpan) -> Decompression.Demand

  /// The outcome, once no more is wanted or there is no more.
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
      "\(announced) events are announced, and at most \(bytes) bytes come for them"
    }
  }

  private static func name(_ byte: UInt8) -> String {
    if 0x21..<0x7F ~= byte { return "'\(UnicodeScalar(byte))'" }
    return "the byte 0x\(byte.hexDigits(uppercase: true))"
  }
}
