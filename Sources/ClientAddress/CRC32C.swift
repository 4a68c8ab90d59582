// The checksum of RFC 3720 §12.1 and RFC 4960, appendix B (Castagnoli's polynomial), computed bit by bit: it is needed
// once per connection, for about fifty bytes. Rejected: a table, which would occupy a kilobyte of the CPU's cache.

struct CRC32C {
  private var state = UInt32.max

  var value: UInt32 { ~state }

  mutating func add(_ byte: UInt8) {
    state ^= UInt32(byte)
    // The polynomial with its bits reversed: the lowest bit is first.
    for _ in 0..<8 { state = state >> 1 ^ (state & 1 == 1 ? 0x82F6_3B78 : 0) }
  }
}
