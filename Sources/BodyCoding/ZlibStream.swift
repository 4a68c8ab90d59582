// gzip and zlib, decoded by the system's zlib, which also compares the checksums.

internal import CZlib

struct ZlibStream: ~Copyable, CompressedStream {
  /// On the heap: zlib checks that the stream's address hasn't changed since its initialisation.
  private let stream: UnsafeMutablePointer<z_stream>
  private let isGzip: Bool

  init(isGzip: Bool) {
    self.isGzip = isGzip
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let windowBits = isGzip ? MAX_WBITS + 16 : MAX_WBITS
    let begun = inflateInit2_(stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    if begun == Z_MEM_ERROR { Decompression.outOfMemory() }
    precondition(begun == Z_OK, "zlib's headers and its library are of different versions: status \(begun)")
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  mutating func step(
    _ input: UnsafeBufferPointer<UInt8>, into room: UnsafeMutableBufferPointer<UInt8>
  ) -> DecoderStep {
    // zlib counts in 32 bits. The next step gets the rest.
    let (offered, space) = (UInt32(clamping: input.count), UInt32(clamping: room.count))
    // Only read, although zlib's type is mutable.
    stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
    stream.pointee.avail_in = offered
    stream.pointee.next_out = room.baseAddress
    stream.pointee.avail_out = space
    let status = inflate(stream, Z_NO_FLUSH)
    return DecoderStep(
      consumed: Int(offered - stream.pointee.avail_in), produced: Int(space - stream.pointee.avail_out),
      state: state(status))
  }

  private func state(_ status: Int32) -> DecoderStep.State {
    switch status {
    // Z_BUF_ERROR: no progress was possible.
    case Z_OK, Z_BUF_ERROR: return .underway
    case Z_STREAM_END: return .ended
    case Z_MEM_ERROR: Decompression.outOfMemory()
    case Z_NEED_DICT: return .corrupt("a preset dictionary is needed")
    default: return .corrupt(stream.pointee.msg.map { String(cString: $0) } ?? "zlib's status \(status)")
    }
  }

  /// RFC 1952: a gzip file is one member or several, one after another.
  mutating func goesOn(with rest: UnsafeBufferPointer<UInt8>) -> Bool {
    guard isGzip, [0x1F, 0x8B].starts(with: rest.prefix(2)) else { return false }
    let status = inflateReset(stream)
    precondition(status == Z_OK, "zlib's state is damaged: status \(status)")
    return true
  }
}
