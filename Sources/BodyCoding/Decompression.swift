// The one loop that undoes compression, over a body that is there as a whole: with bounds on what comes out, and with a name for
// everything that can be wrong with what goes in. What comes out is handed on piece by piece, to whoever keeps all of it or only
// looks at it; nothing is believed of the sizes that streams announce of themselves. What differs between the libraries, one call and what
// it answers, is behind `CompressedStream`.
//
// Memory beyond what is kept is one piece of room and the library's state, whose window each stream bounds: 32 KiB for gzip and zlib,
// 8 MiB for zstd (what RFC 9659 grants a Content-Encoding), 16 MiB for brotli (its largest, without the "large window" extension).

/// One decoder of a library on its way through one body. Made for one body, and for one task.
protocol CompressedStream: ~Copyable {
  /// Decodes until the input or the room is used up, or a stream (a member, a frame) ends.
  mutating func step(_ input: UnsafeBufferPointer<UInt8>, into room: UnsafeMutableBufferPointer<UInt8>) -> DecoderStep

  /// After the end of a stream: whether what follows in the body is another one, or the cut off beginning of one. If so, it is what the
  /// next step is given.
  mutating func goesOn(with rest: UnsafeBufferPointer<UInt8>) -> Bool
}

/// What came of one step.
struct DecoderStep {
  enum State {
    case underway
    case ended
    /// The stream isn't valid, in the library's words.
    case corrupt(String)
  }

  var consumed: Int
  var produced: Int
  var state: State
}

/// How much may come out of a body.
package struct DecodedBounds: Sendable, Equatable {
  /// The most bytes.
  package var bytes: Int
  /// The most bytes that come out for each one that goes in.
  package var ratio: Int

  package init(bytes: Int, ratio: Int) {
    self.bytes = bytes
    self.ratio = ratio
  }

  /// So many bytes may come out whatever the ratio is: a body of a few bytes does no harm by being well compressed.
  static let always = 1 << 20

  /// The most bytes that may come out of a body.
  package func bytes(from encoded: Int) -> Int { min(bytes, byRatio(encoded)) }

  /// Why what came out of a body is too much.
  func excess(from encoded: Int) -> Decompression.Failure {
    byRatio(encoded) < bytes
      ? .tooDense(ratio: ratio, encoded: encoded, allowed: byRatio(encoded)) : .tooLarge(limit: bytes)
  }

  private func byRatio(_ encoded: Int) -> Int {
    let (product, overflow) = encoded.multipliedReportingOverflow(by: ratio)
    return overflow ? .max : max(Self.always, product)
  }
}

/// Undoes compression.
package enum Decompression {
  package enum Failure: Error, Equatable {
    /// The stream isn't valid, in the library's words.
    case corrupt(String)
    /// The stream has no end.
    case truncated
    /// After the stream's end so many bytes come that aren't another one.
    case trailing(bytes: Int)
    /// More than the limit comes out.
    case tooLarge(limit: Int)
    /// More comes out than the ratio allows.
    case tooDense(ratio: Int, encoded: Int, allowed: Int)
  }

  /// Whether whoever takes pieces wants another one.
  package enum Demand {
    case more
    /// What is left of the body isn't decoded, so what is wrong with it isn't found either.
    case enough
  }

  /// - Parameters:
  ///   - format: What the body is by its first bytes, or else brotli. What begins otherwise isn't given to a library, which may
  ///     know formats that we don't want: zstd's takes those from before its version 1.0.
  ///   - room: Bytes that are decoded at a time. Nothing but speed depends on it, and how a library puts what is corrupt.
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

  /// Decodes a body without keeping what comes out of it. Pieces may have been taken before it turns out that the body can't be
  /// decoded to its end; nothing that was taken goes beyond the bounds.
  /// - Parameters:
  ///   - format: As for `decode`.
  ///   - room: The most bytes that a piece has. How many it has is up to the library, and with it how much of a body that is corrupt
  ///     comes before the error.
  ///   - take: Is given each piece in its turn, for the time of the call. No piece is empty.
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
          // One byte more than is allowed may come out, to tell "exactly the limit" from "more".
          let space = UnsafeMutableBufferPointer(rebasing: room.prefix(allowed < size ? allowed + 1 : size))
          let step = stream.step(rest, into: space)
          rest = UnsafeBufferPointer(rebasing: rest.dropFirst(step.consumed))
          // What is within the bounds is taken first, so that what is taken doesn't depend on the room.
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
          // There was room, so what is missing is input.
          case .underway where step.consumed == 0 && step.produced == 0: throw .truncated
          case .underway: continue
          }
        }
      }
    }
  }

  /// A library got no memory. That says nothing of the body, so it mustn't become the reason of a refusal or a dead letter; and Swift's
  /// own arrays end the process in that case too. What a node hadn't answered is pushed again, and what a worker had claimed comes back
  /// when its lease ends.
  static func outOfMemory() -> Never {
    fatalError("no memory left to decode a body in")
  }
}

extension Decompression.Failure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .corrupt(let why): "it is corrupt (\(why))"
    case .truncated: "its end is missing"
    case .trailing(let bytes): "\(bytes) bytes come after its end"
    case .tooLarge(let limit): "more than \(limit) bytes come out of it"
    case .tooDense(let ratio, let encoded, let allowed):
      "more than \(allowed) bytes come out of its \(encoded), and at most \(ratio) for each one are allowed"
    }
  }
}
