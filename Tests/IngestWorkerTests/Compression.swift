import CZlib
import Testing

/// Compressed by zlib itself, so that what is undone here was made by others.
enum Compression {
  static func gzip(_ bytes: some Sequence<UInt8>) throws -> [UInt8] { try deflated(Array(bytes), MAX_WBITS + 16) }
  static func zlib(_ bytes: some Sequence<UInt8>, level: Int32 = Z_DEFAULT_COMPRESSION) throws -> [UInt8] {
    try deflated(Array(bytes), MAX_WBITS, level: level)
  }
  static func raw(_ bytes: some Sequence<UInt8>) throws -> [UInt8] { try deflated(Array(bytes), -MAX_WBITS) }

  private static func deflated(
    _ bytes: [UInt8], _ windowBits: Int32, level: Int32 = Z_DEFAULT_COMPRESSION
  ) throws -> [UInt8] {
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    let begun = deflateInit2_(
      stream, level, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    try #require(begun == Z_OK)
    defer { deflateEnd(stream) }
    var input = bytes
    return try input.withUnsafeMutableBufferPointer { input in
      stream.pointee.next_in = input.baseAddress
      stream.pointee.avail_in = UInt32(input.count)
      let room = Int(deflateBound(stream, UInt(input.count))) + 64
      var status = Z_OK
      let output = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
        stream.pointee.next_out = buffer.baseAddress
        stream.pointee.avail_out = UInt32(room)
        status = deflate(stream, Z_FINISH)
        count = room - Int(stream.pointee.avail_out)
      }
      try #require(status == Z_STREAM_END)
      return output
    }
  }
}
