// The slot of a key in a Redis Cluster: CRC-16 (XMODEM) of the text between its first pair of braces, or of the whole
// key.

/// One of a cluster's 16,384 slots.
struct ClusterSlot: Sendable, Hashable, CustomStringConvertible {
  let number: Int

  static let count = 16_384

  /// - Parameter key: The rule of the braces applies: `a:{b}:c` is in the slot of `b`.
  init(of key: String) {
    var hashed = Array(key.utf8)[...]
    if let open = hashed.firstIndex(of: UInt8(ascii: "{")) {
      let rest = hashed[(open + 1)...]
      // An empty pair of braces is ignored.
      if let close = rest.firstIndex(of: UInt8(ascii: "}")), close > rest.startIndex { hashed = rest[..<close] }
    }
    number = Int(Self.crc16(hashed)) % Self.count
  }

  /// Bit by bit: it is calculated once for each client.
  private static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
    bytes.reduce(0 as UInt16) { crc, byte in
      (0..<8).reduce(crc ^ UInt16(byte) << 8) { crc, _ in
        crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021
      }
    }
  }

  var description: String { "slot \(number)" }
}
