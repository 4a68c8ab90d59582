// The formats that bodies come compressed in, and how each is known: by its first bytes, never by what the client calls it. Brotli has
// none; it is known by nothing but its label, which is for the caller to read.

/// A format that can be undone. The raw value is what is noted with a body that was decoded.
package enum CompressionFormat: String, Sendable, CaseIterable {
  case gzip
  case zlib
  case zstd
  case brotli = "br"

  /// What the bytes say that they are; nil for anything else, brotli included.
  package init?(firstBytesOf body: RawSpan) {
    let format = body.withUnsafeBytes { Self.format(of: $0) }
    guard let format else { return nil }
    self = format
  }

  private static func format(of body: UnsafeRawBufferPointer) -> Self? {
    if body.starts(with: [0x1F, 0x8B]) {
      return .gzip
    } else if body.count >= 2, body[0] == 0x78, [0x01, 0x5E, 0x9C, 0xDA].contains(body[1]) {
      // Deflate with a window of 32 KiB, at one of the four levels that zlib writes, without a preset dictionary; the two bytes
      // as a number are a multiple of 31.
      return .zlib
    } else if holdsZstandardFrame(body) {
      return .zstd
    } else {
      return nil
    }
  }

  /// Skippable frames may come first, but a body of nothing else holds nothing that was compressed: other formats have
  /// such frames too, and decoded it would be empty, so that what was sent would be lost.
  private static func holdsZstandardFrame(_ body: UnsafeRawBufferPointer) -> Bool {
    var rest = body[...]
    while rest.count >= 8, ZstandardFrame.beginsSkippable(rest) {
      let length = rest.dropFirst(4).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
      rest = rest.dropFirst(8 + length)
    }
    return rest.count >= 4 && ZstandardFrame.begins(rest)
  }
}

/// How the frames of RFC 8878 begin. Of a frame that is cut off within its first four bytes, those that are there count.
enum ZstandardFrame {
  static func begins(_ bytes: some Collection<UInt8>) -> Bool {
    !bytes.isEmpty && [0x28, 0xB5, 0x2F, 0xFD].starts(with: bytes.prefix(4))
  }

  static func beginsSkippable(_ bytes: some Collection<UInt8>) -> Bool {
    guard let first = bytes.first else { return false }
    return (0x50...0x5F).contains(first) && [0x2A, 0x4D, 0x18].starts(with: bytes.prefix(4).dropFirst())
  }
}
