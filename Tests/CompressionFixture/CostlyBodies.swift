// Compressed bodies that cost a decoder as much work as possible per byte, and decode to little or nothing. No encoder
// makes them, but an attacker can.

/// A body that is costly to decode.
public struct CostlyBody: Sendable {
  public let name: String
  public let format: Compression.Format
  public let bytes: [UInt8]

  /// The costliest of each format.
  /// - Parameter size: About how many bytes each has; none has more.
  public static func all(size: Int) throws -> [CostlyBody] {
    var bodies = [
      CostlyBody(name: "zlib, empty blocks with codes of their own", format: .zlib, bytes: zlib(size, .dynamic)),
      CostlyBody(name: "zlib, empty blocks with the fixed codes", format: .zlib, bytes: zlib(size, .fixed)),
      CostlyBody(name: "zlib, empty stored blocks", format: .zlib, bytes: zlib(size, .stored)),
      CostlyBody(name: "brotli, empty metadata", format: .br, bytes: brotliMetadata(size)),
    ]
    let texts = (0..<64).map { index in (0..<48).map { UInt8(truncatingIfNeeded: 97 + ($0 * $0 + index * $0) % 23) } }
    bodies.append(
      CostlyBody(name: "gzip, empty members", format: .gzip, bytes: repeated([try Compression.gzip([])], size)))
    bodies.append(
      CostlyBody(
        name: "gzip, short members", format: .gzip, bytes: repeated(try texts.map { try Compression.gzip($0) }, size)))
    bodies.append(
      CostlyBody(name: "zstd, empty frames", format: .zstd, bytes: repeated([try Compression.zstd([])], size)))
    bodies.append(
      CostlyBody(
        name: "zstd, short frames", format: .zstd, bytes: repeated(try texts.map { try Compression.zstd($0) }, size)))
    bodies.append(
      CostlyBody(
        name: "zstd, frames to be passed over", format: .zstd,
        bytes: repeated([Compression.zstdSkippable([])], size - 32) + (try Compression.zstd([]))))
    bodies.append(CostlyBody(name: "zstd, empty blocks", format: .zstd, bytes: zstdBlocks(size)))
    for format in Compression.Format.allCases {
      bodies.append(
        CostlyBody(
          name: "\(format), zeros", format: format,
          bytes: try format.compress([UInt8](repeating: 0, count: 1 << 16), times: 64)))
    }
    return bodies
  }

  private static func repeated(_ parts: [[UInt8]], _ size: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var index = 0
    while bytes.count + parts[index % parts.count].count <= size {
      bytes += parts[index % parts.count]
      index += 1
    }
    return bytes
  }

  // MARK: zlib (RFC 1950 and 1951)

  private enum Block { case stored, fixed, dynamic }

  private static func zlib(_ size: Int, _ block: Block) -> [UInt8] {
    var bits = BitWriter()
    // The last block, empty too, ends the stream; the checksum is that of nothing.
    while bits.bytes.count < size - 24 {
      switch block {
      case .stored: storedBlock(&bits, isLast: false)
      case .fixed: bits.write(0b01 << 1, 3 + 7)
      case .dynamic: dynamicBlock(&bits)
      }
    }
    storedBlock(&bits, isLast: true)
    return [0x78, 0x9C] + bits.bytes + [0, 0, 0, 1]
  }

  private static func storedBlock(_ bits: inout BitWriter, isLast: Bool) {
    bits.write(isLast ? 1 : 0, 3)
    bits.align()
    for byte in [0, 0, 0xFF, 0xFF] { bits.write(byte, 8) }
  }

  /// A block whose only code is the one for its end. The decoder makes its tables for it all the same.
  private static func dynamicBlock(_ bits: inout BitWriter) {
    bits.write(0b10 << 1, 3)
    bits.write(0, 5)  // 257 codes for literals and lengths
    bits.write(0, 5)  // 1 for distances
    bits.write(14, 4)  // 18 for lengths of codes
    // In the order 16, 17, 18, 0, 8, …, 14, 1: 18 (a run of zeros) and 1 have a code of one bit each, in the order of their values.
    for place in 0..<18 { bits.write(place == 2 || place == 17 ? 1 : 0, 3) }
    let (one, run) = (0, 1)
    for count in [138, 118] {
      bits.write(run, 1)
      bits.write(count - 11, 7)
    }
    bits.write(one, 1)  // the end of the block
    bits.write(one, 1)  // the distance
    bits.write(0, 1)  // the end itself
  }

  // MARK: zstd (RFC 8878)

  /// One frame of empty raw blocks.
  private static func zstdBlocks(_ size: Int) -> [UInt8] {
    // No window is announced but the smallest, and no size.
    var bytes: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x00]
    while bytes.count < size - 6 { bytes += [0, 0, 0] }
    return bytes + [1, 0, 0]
  }

  // MARK: brotli (RFC 7932)

  private static func brotliMetadata(_ size: Int) -> [UInt8] {
    // A window of 16 bits and an empty metadata block, then such blocks, then the empty last one.
    [0x0C] + [UInt8](repeating: 0x06, count: size - 2) + [0x03]
  }
}

/// Writes bits from the lowest of each byte on.
private struct BitWriter {
  private(set) var bytes: [UInt8] = []
  private var used = 8

  mutating func write(_ value: Int, _ count: Int) {
    for bit in 0..<count {
      if used == 8 {
        bytes.append(0)
        used = 0
      }
      bytes[bytes.count - 1] |= UInt8(value >> bit & 1) << UInt8(used)
      used += 1
    }
  }

  mutating func align() { used = 8 }
}
