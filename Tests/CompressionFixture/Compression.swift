// Bodies for tests, compressed by each format's own library, so that our decoders are tested with other authors'
// encoders. A target of its own: the tests of several modules need it, and no program may be linked with brotli's
// encoder.

import CBrotliEncoder
import CZlib
import CZstd

/// Compresses. `times` repeats the bytes without holding them so often.
public enum Compression {
  /// A way to compress, as the argument of a test.
  public enum Format: String, CaseIterable, Sendable {
    case gzip, zlib, zstd, br

    public func compress(_ bytes: some Sequence<UInt8>, times: Int = 1) throws -> [UInt8] {
      switch self {
      case .gzip: try Compression.gzip(bytes, times: times)
      case .zlib: try Compression.zlib(bytes, times: times)
      case .zstd: try Compression.zstd(bytes, times: times)
      case .br: try Compression.brotli(bytes, times: times)
      }
    }
  }

  public static func gzip(_ bytes: some Sequence<UInt8>, times: Int = 1) throws -> [UInt8] {
    try deflated(Array(bytes), times, MAX_WBITS + 16)
  }

  public static func zlib(
    _ bytes: some Sequence<UInt8>, level: Int32 = -1, times: Int = 1
  ) throws -> [UInt8] {
    try deflated(Array(bytes), times, MAX_WBITS, level: level)
  }

  public static func raw(_ bytes: some Sequence<UInt8>) throws -> [UInt8] { try deflated(Array(bytes), 1, -MAX_WBITS) }

  private static func deflated(
    _ bytes: [UInt8], _ times: Int, _ windowBits: Int32, level: Int32 = -1
  ) throws -> [UInt8] {
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    // A gigabyte should take a second, and what is so large here is all the same.
    let strategy = times > 1 ? Z_RLE : Z_DEFAULT_STRATEGY
    let begun = deflateInit2_(
      stream, level, Z_DEFLATED, windowBits, 8, strategy, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    try check(begun == Z_OK, "deflateInit2: \(begun)")
    defer { deflateEnd(stream) }
    return try pump(bytes, times) { input, isLast, room in
      stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
      stream.pointee.avail_in = UInt32(input.count)
      stream.pointee.next_out = room.baseAddress
      stream.pointee.avail_out = UInt32(room.count)
      let status = deflate(stream, isLast ? Z_FINISH : Z_NO_FLUSH)
      try check([Z_OK, Z_BUF_ERROR, Z_STREAM_END].contains(status), "deflate: \(status)")
      return (
        input.count - Int(stream.pointee.avail_in), room.count - Int(stream.pointee.avail_out), status == Z_STREAM_END
      )
    }
  }

  /// - Parameters:
  ///   - window: The window's size as a power of 2; nil for what goes with the level.
  ///   - isSized: Whether the frame announces how much it holds.
  public static func zstd(
    _ bytes: some Sequence<UInt8>, level: Int32 = 3, checksum: Bool = true, window: Int32? = nil, isSized: Bool = false,
    times: Int = 1
  ) throws -> [UInt8] {
    let bytes = Array(bytes)
    guard let context = ZSTD_createCCtx() else { throw EncoderFailure("ZSTD_createCCtx") }
    defer { ZSTD_freeCCtx(context) }
    var parameters = [(ZSTD_c_compressionLevel, level), (ZSTD_c_checksumFlag, checksum ? 1 : 0)]
    if let window { parameters.append((ZSTD_c_windowLog, window)) }
    for (parameter, value) in parameters {
      let status = ZSTD_CCtx_setParameter(context, parameter, value)
      try check(ZSTD_isError(status) == 0, "ZSTD_CCtx_setParameter(\(parameter), \(value)): \(zstdName(status))")
    }
    if isSized {
      let status = ZSTD_CCtx_setPledgedSrcSize(context, UInt64(bytes.count * times))
      try check(ZSTD_isError(status) == 0, "ZSTD_CCtx_setPledgedSrcSize: \(zstdName(status))")
    }
    return try pump(bytes, times) { input, isLast, room in
      var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
      var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
      let left = ZSTD_compressStream2(context, &target, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
      try check(ZSTD_isError(left) == 0, "ZSTD_compressStream2: \(zstdName(left))")
      return (source.pos, target.pos, isLast && left == 0)
    }
  }

  /// A frame that decoders pass over (RFC 8878, 3.1.2).
  public static func zstdSkippable(_ bytes: [UInt8], number: UInt8 = 0) -> [UInt8] {
    let length = (0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) }
    return [0x50 + number, 0x2A, 0x4D, 0x18] + length + bytes
  }

  /// - Parameters:
  ///   - window: The window's size as a power of 2, from 10 to 24, or to 30 where it is large.
  ///   - isLarge: With the extension that isn't in RFC 7932.
  public static func brotli(
    _ bytes: some Sequence<UInt8>, quality: UInt32 = 5, window: UInt32 = 22, isLarge: Bool = false, times: Int = 1
  ) throws -> [UInt8] {
    guard let encoder = BrotliEncoderCreateInstance(nil, nil, nil) else {
      throw EncoderFailure("BrotliEncoderCreateInstance")
    }
    defer { BrotliEncoderDestroyInstance(encoder) }
    let parameters = [
      (BROTLI_PARAM_QUALITY, quality), (BROTLI_PARAM_LARGE_WINDOW, isLarge ? 1 : 0), (BROTLI_PARAM_LGWIN, window),
    ]
    for (parameter, value) in parameters {
      let isSet = BrotliEncoderSetParameter(encoder, parameter, value) == BROTLI_TRUE
      try check(isSet, "BrotliEncoderSetParameter(\(parameter), \(value))")
    }
    return try pump(Array(bytes), times) { input, isLast, room in
      var (left, space) = (input.count, room.count)
      var (next, target) = (input.baseAddress, room.baseAddress)
      let operation = isLast ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS
      let worked = BrotliEncoderCompressStream(encoder, operation, &left, &next, &space, &target, nil)
      try check(worked == BROTLI_TRUE, "BrotliEncoderCompressStream")
      return (input.count - left, room.count - space, BrotliEncoderIsFinished(encoder) == BROTLI_TRUE)
    }
  }

  private static func check(_ worked: Bool, _ call: @autoclosure () -> String) throws(EncoderFailure) {
    guard worked else { throw EncoderFailure(call()) }
  }

  private static func zstdName(_ status: Int) -> String { String(cString: ZSTD_getErrorName(status)) }

  /// Gives an encoder the bytes `times` over, and collects what it makes.
  private static func pump(
    _ bytes: [UInt8], _ times: Int,
    _ step: (_ input: UnsafeBufferPointer<UInt8>, _ isLast: Bool, _ room: UnsafeMutableBufferPointer<UInt8>) throws ->
      (consumed: Int, produced: Int, isDone: Bool)
  ) throws -> [UInt8] {
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 128 << 10)
    defer { room.deallocate() }
    var output: [UInt8] = []
    try bytes.withUnsafeBufferPointer { input in
      for turn in 1...times {
        var rest = input
        var isDone = false
        while turn == times ? !isDone : !rest.isEmpty {
          let made = try step(rest, turn == times, room)
          rest = UnsafeBufferPointer(rebasing: rest.dropFirst(made.consumed))
          output.append(contentsOf: room.prefix(made.produced))
          isDone = made.isDone
        }
      }
    }
    return output
  }
}

/// A library's encoder said no to what a test asked of it.
public struct EncoderFailure: Error, CustomStringConvertible {
  public let description: String

  init(_ call: String) { description = "the encoder failed: \(call)" }
}
