// The loop that decompresses a complete body: with limits on its output, and with a name for every error in its input.
// Output is passed on in pieces, to callers that keep all of it or only examine it. The sizes that streams announce
// aren't trusted. The libraries differ only in one call and its result, which are behind `CompressedStream`.
//
// Memory beyond the kept output is one piece of room and the library's state, whose window each stream limits: 32 KiB
// for gzip and zlib, 8 MiB for zstd (the maximum of RFC 9659 for a Content-Encoding), 16 MiB for brotli (its maximum
// without the "large window" extension).

/// A library's decoder for one body, used by one task.
protocol CompressedStream: ~Copyable {
  /// Decodes until the input or the room is used up, or a stream (a member, a frame) ends.
  mutating func step(_ input: UnsafeBufferPointer<UInt8>, into room: UnsafeMutableBufferPointer<UInt8>) -> DecoderStep

  /// Whether the rest of the body, after the end of a stream, is another stream or the beginning of one. If so, the
  /// caller passes the rest to the next step.
  mutating func goesOn(with rest: UnsafeBufferPointer<UInt8>) -> Bool
}

/// The result of one step.
struct DecoderStep {
  enum State {
    case underway
    case ended
    /// The stream is invalid. The value is the library's error text.
    case corrupt(String)
  }

  var consumed: Int
  var produced: Int
  var state: State
}

/// Limits of a body's output.
package struct DecodedBounds: Sendable, Equatable {
  /// Maximum bytes.
  package var bytes: Int
  /// Maximum bytes of output for each byte of input.
  package var ratio: Int

  package init(bytes: Int, ratio: Int) {
    self.bytes = bytes
    self.ratio = ratio
  }

  /// Output up to this size is allowed at any ratio: a small body does no harm by being well compressed.
  static let always = 1 << 20

  /// Maximum output of a body.
  package func bytes(from encoded: Int) -> Int { min(bytes, byRatio(encoded)) }

  /// The limit that a body's output exceeds.
  func excess(from encoded: Int) -> Decompression.Failure {
    byRatio(encoded) < bytes
      ? .tooDense(ratio: ratio, encoded: encoded, allowed: byRatio(encoded)) : .tooLarge(limit: bytes)
  }

  private func byRatio(_ encoded: Int) -> Int {
    let (product, overflow) = encoded.multipliedReportingOverflow(by: ratio)
    return overflow ? .max : max(Self.always, product)
  }
}

/// Decompresses bodies.
package enum Decompression {
  package enum Failure: Error, Equatable {
    /// The stream is invalid. The value is the library's error text.
    case corrupt(String)
    /// The stream has no end.
    case truncated
    /// There are bytes after the stream's end that aren't another stream.
    case trailing(bytes: Int)
    /// The output exceeds the limit.
    case tooLarge(limit: Int)
    /// The output exceeds the allowed ratio.
    case tooDense(ratio: Int, encoded: Int, allowed: Int)
  }

  /// Whether the receiver of pieces wants another one.
  package enum Demand {
    case more
    /// The rest of the body isn't decoded, so errors in it aren't found either.
    case enough
  }

  /// - Parameters:
  ///   - format: The body's format by its first bytes, or else brotli. Other bodies must not be passed to a library: it
  ///     may accept formats that Sluice doesn't. zstd's accepts those from before its version 1.0.
  ///   - room: Bytes that are decoded at a time. Affects only the speed, and the library's error text for corrupt
  ///     input.
  package static func decode(
    _ body: RawSpan, as format: CompressionFormat, within bounds: DecodedBounds, room: Int = 64 << 10
  ) throws(Failure) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(min(bounds.bytes(from: body.byteCount), body.byteCount * 4))
    try pieces(of: body, as: format, within: bounds, room: room) { piece in
      piece.withUnsafeBytes { output.append(contentsOf: $0) }
      return .more
    }
    return output
  }

  /// Decodes a body without keeping the output. Pieces may have been passed on before an error in the body is found;
  /// they never exceed the limits.
  /// - Parameters:
  ///   - format: As for `decode`.
  ///   - room: Maximum bytes of a piece. The library decides the size of a piece, and so how much output of a corrupt
  ///     body precedes the error.
  ///   - take: Gets each piece in turn, valid during the call. No piece is empty.
  package static func pieces(
    of body: RawSpan, as format: CompressionFormat, within bounds: DecodedBounds, room: Int = 64 << 10,
    _ take: (RawSpan) -> Demand
  ) throws(Failure) {
    switch format {
    case .gzip, .zlib:
      var stream = ZlibStream(isGzip: format == .gzip)
      try run(&stream, on: body, within: bounds, room: room, take)
    case .zstd:
      var stream = ZstandardStream()
      try run(&stream, on: body, within: bounds, room: room, take)
    case .brotli:
      var stream = BrotliStream()
      try run(&stream, on: body, within: bounds, room: room, take)
    }
  }

  private static func run<Stream: CompressedStream & ~Copyable>(
    _ stream: inout Stream, on body: RawSpan, within bounds: DecodedBounds, room size: Int, _ take: (RawSpan) -> Demand
  ) throws(Failure) {
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: size)
    defer { room.deallocate() }
    try body.withUnsafeBytes { bytes throws(Failure) in
      try bytes.withMemoryRebound(to: UInt8.self) { input throws(Failure) in
        var rest = input
        var allowed = bounds.bytes(from: input.count)
        while true {
          // One byte beyond the limit may be written, to distinguish "exactly the limit" from "more".
          let space = UnsafeMutableBufferPointer(rebasing: room.prefix(allowed < size ? allowed + 1 : size))
          let step = stream.step(rest, into: space)
          rest = UnsafeBufferPointer(rebasing: rest.dropFirst(step.consumed))
          // Bytes within the limits are passed on first, so that the result doesn't depend on the output buffer's size.
          let piece = UnsafeRawBufferPointer(
            rebasing: UnsafeRawBufferPointer(space).prefix(min(step.produced, allowed)))
          if !piece.isEmpty, take(piece.bytes) == .enough { return }
          guard step.produced <= allowed else { throw bounds.excess(from: input.count) }
          allowed -= step.produced
          switch step.state {
          case .corrupt(let why): throw .corrupt(why)
          case .ended:
            if rest.isEmpty { return }
            guard stream.goesOn(with: rest) else { throw .trailing(bytes: rest.count) }
          // There was output space but no progress, so input is missing.
          case .underway where step.consumed == 0 && step.produced == 0: throw .truncated
          case .underway: continue
          }
        }
      }
    }
  }

  /// Ends the process because a library can't allocate memory. That isn't the body's fault, so it mustn't cause a
  /// refusal or a dead letter. Swift's own arrays end the process in that case too. Clients push unanswered payloads
  /// again, and a worker's claims return to the queue when their leases end.
  static func outOfMemory() -> Never {
    fatalError("out of memory: can't decode a body")
  }
}

extension Decompression.Failure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .corrupt(let why): "it is corrupt (\(why))"
    case .truncated: "its end is missing"
    case .trailing(let bytes): "\(bytes) bytes come after its end"
    case .tooLarge(let limit): "it decompresses to more than \(limit) bytes"
    case .tooDense(let ratio, let encoded, let allowed):
      "its \(encoded) bytes decompress to more than \(allowed); the limit is \(ratio) times its size"
    }
  }
}
