// zstd, decoded by its own library. A frame can ask for a window of up to 2 GiB in a few bytes, so the window is
// limited. The library doesn't compare a frame's window with the limit if the output has room for all of the frame.
// Then the output buffer's size would decide whether a body is accepted, so the window is compared here too. The
// library compares what a frame of a single segment needs.
//
// A frame may announce the size of its contents. The library compares it with the real size, except if it decodes in
// pieces and the last block is empty. Then the output buffer's size would decide whether a body is corrupt. Fuzzing
// found that, so the sizes are compared here too.

internal import CZstd

struct ZstandardStream: ~Copyable, CompressedStream {
  /// 8 MiB. RFC 9659 allows senders of zstd as a Content-Encoding no larger window, and RFC 8878 wants every decoder to
  /// support this size.
  private static let largestWindowLog: Int32 = 23
  private static let largestWindow = UInt64(1) << largestWindowLog

  private let context: OpaquePointer
  private var isAtFrame = true
  /// The announced size of the frame's contents, if there is one.
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
    if isAtFrame {
      if let window = ZstandardFrame.window(input), window > Self.largestWindow {
        let problem = "a frame asks for a window of \(window) bytes, more than \(Self.largestWindow)"
        return DecoderStep(consumed: 0, produced: 0, state: .corrupt(problem))
      }
      begin(input)
    }
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
    // Either no size is announced or there is no frame. The library reports the latter.
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

  /// RFC 8878: frames and skippable frames, one after another. The library continues with the next one by itself.
  mutating func goesOn(with rest: UnsafeBufferPointer<UInt8>) -> Bool {
    ZstandardFrame.begins(rest) || ZstandardFrame.beginsSkippable(rest)
  }
}
