// zstd, by its own library. A frame may ask for any window up to 2 GiB in a few bytes, so what it may ask for is bounded.
//
// Frames may announce how much they hold. The library compares that with what came, except, when it decodes by pieces, where the last block
// is empty: so whether a body is corrupt would depend on how much room there was. That was found by fuzzing; so it is compared here too.

internal import CZstd

struct ZstandardStream: ~Copyable, CompressedStream {
  /// RFC 9659: whoever sends zstd as a Content-Encoding keeps to 8 MiB. It is also what RFC 8878 wants every decoder to take.
  private static let largestWindowLog: Int32 = 23

  private let context: OpaquePointer
  private var isAtFrame = true
  /// What the frame says that it holds, if it does.
  private var announced: UInt64?
  private var held: UInt64 = 0

  init() {
    guard let context = ZSTD_createDCtx() else { Decompression.outOfMemory() }
    self.context = context
    let status = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.largestWindowLog)
    precondition(
      ZSTD_isError(status) == 0, "zstd knows no bound on the window: \(String(cString: ZSTD_getErrorName(status)))")
  }

  deinit { ZSTD_freeDCtx(context) }

  mutating func step(
    _ input: UnsafeBufferPointer<UInt8>, into room: UnsafeMutableBufferPointer<UInt8>
  ) -> DecoderStep {
    if isAtFrame { begin(input) }
    var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
    let status = ZSTD_decompressStream(context, &target, &source)
    held += UInt64(target.pos)
    return DecoderStep(consumed: source.pos, produced: target.pos, state: state(status))
  }

  private mutating func begin(_ frame: UnsafeBufferPointer<UInt8>) {
    isAtFrame = false
    held = 0
    let size = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
    // Not announced, or not there; the latter is for the library to say.
    announced = size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ? nil : size
  }

  private mutating func state(_ status: Int) -> DecoderStep.State {
    if status == 0 {
      isAtFrame = true
      if let announced, announced != held { return .corrupt("a frame announces \(announced) bytes and holds \(held)") }
      return .ended
    }
    guard ZSTD_isError(status) != 0 else { return .underway }
    if ZSTD_getErrorCode(status) == ZSTD_error_memory_allocation { Decompression.outOfMemory() }
    return .corrupt(String(cString: ZSTD_getErrorName(status)))
  }

  /// RFC 8878: frames and skippable frames, one after another; the library begins with the next one by itself.
  mutating func goesOn(with rest: UnsafeBufferPointer<UInt8>) -> Bool {
    ZstandardFrame.begins(rest) || ZstandardFrame.beginsSkippable(rest)
  }
}
