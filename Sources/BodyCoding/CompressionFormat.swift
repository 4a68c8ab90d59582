// The compression formats of bodies. A format is recognised by its first bytes, never by the client's label. Only
// Brotli has no such bytes; the caller recognises it by the label.

/// A format that can be decompressed. The raw value is recorded with a decoded body.
package enum CompressionFormat: String, Sendable, CaseIterable {
  case gzip
  case zlib
  case zstd
  case brotli = "br"

  /// The format of a body by its first bytes; nil for anything else, including Brotli.
  package init?(firstBytesOf body: RawSpan) {
    let format = body.withUnsafeBytes { Self.format(of: $0) }
    guard let format else { return nil }
    self = format
  }

  private static func format(of body: UnsafeRawBufferPointer) -> Self? {
    if body.starts(with: [0x1F, 0x8B]) {
      return .gzip
    } else if body.count >= 2, body[0] == 0x78, [0x01, 0x5E, 0x9C, 0xDA].contains(body[1]) {
      // Deflate with a window of 32 KiB, at one of zlib's four levels, without a preset dictionary. The two bytes as a
      // number are a multiple of 31.
      return .zlib
    } else if holdsZstandardFrame(body) {
      return .zstd
    } else {
      return nil
    }
  }

  /// A body may begin with skippable frames. A body of nothing else isn't zstd: other formats have such frames too. It
  /// would be decoded to an empty body, and the sent bytes would be lost.
  private static func holdsZstandardFrame(_ body: UnsafeRawBufferPointer) -> Bool {
    var rest = body[...]
    while rest.count >= 8, ZstandardFrame.beginsSkippable(rest) {
      let length = rest.dropFirst(4).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
      rest = rest.dropFirst(8 + length)
    }
    return rest.count >= 4 && ZstandardFrame.begins(rest)
  }
}

/// The first bytes of the frames of RFC 8878. If a frame is cut off within its first four bytes, only the present bytes
/// are compared.
enum ZstandardFrame {
  static func begins(_ bytes: some Collection<UInt8>) -> Bool {
    !bytes.isEmpty && [0x28, 0xB5, 0x2F, 0xFD].starts(with: bytes.prefix(4))
  }

  static func beginsSkippable(_ bytes: some Collection<UInt8>) -> Bool {
    guard let first = bytes.first else { return false }
    return (0x50...0x5F).contains(first) && [0x2A, 0x4D, 0x18].starts(with: bytes.prefix(4).dropFirst())
  }

  /// The window that a frame asks for, in bytes (RFC 8878, 3.1.1.1.2); nil if the bytes don't begin with a frame's
  /// header that says so. A frame of a single segment asks for as many bytes as it announces.
  static func window(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64? {
    let isSingleSegment: UInt8 = 0x20
    guard bytes.count >= 6, begins(bytes.prefix(4)), bytes[4] & isSingleSegment == 0 else { return nil }
    let base = UInt64(1) << (10 + UInt64(bytes[5] >> 3))
    return base + base / 8 * UInt64(bytes[5] & 7)
  }
}
