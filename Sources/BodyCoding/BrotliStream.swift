// Brotli, decoded by its own library. The format has no magic bytes and no checksum. Only two things can be checked:
// the stream ends, and its end is the end of the body. The "large window" extension isn't part of RFC 7932. The library
// rejects it unless a caller turns it on.

internal import CBrotli

struct BrotliStream: ~Copyable, CompressedStream {
  private let decoder: OpaquePointer

  init() {
    guard let decoder = BrotliDecoderCreateInstance(nil, nil, nil) else { Decompression.outOfMemory() }
    self.decoder = decoder
  }

  deinit { BrotliDecoderDestroyInstance(decoder) }

  mutating func step(
    _ input: UnsafeBufferPointer<UInt8>, into room: UnsafeMutableBufferPointer<UInt8>
  ) -> DecoderStep {
    var (left, space) = (input.count, room.count)
    var (next, target) = (input.baseAddress, room.baseAddress)
    let result = BrotliDecoderDecompressStream(decoder, &left, &next, &space, &target, nil)
    return DecoderStep(consumed: input.count - left, produced: room.count - space, state: state(result))
  }

  private func state(_ result: BrotliDecoderResult) -> DecoderStep.State {
    switch result {
    case BROTLI_DECODER_RESULT_SUCCESS: return .ended
    case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT, BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT: return .underway
    default:
      let code = BrotliDecoderGetErrorCode(decoder)
      // The library's error codes for its allocations are consecutive.
      let allocations =
        BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES.rawValue...BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES.rawValue
      if allocations.contains(code.rawValue) { Decompression.outOfMemory() }
      return .corrupt(BrotliDecoderErrorString(code).map { String(cString: $0) } ?? "brotli's error \(code.rawValue)")
    }
  }

  /// RFC 7932: a body is one stream.
  mutating func goesOn(with rest: UnsafeBufferPointer<UInt8>) -> Bool { false }
}
