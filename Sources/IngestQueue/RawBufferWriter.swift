// Writes several pieces into memory that is reserved once. ByteBuffer's own methods check for each piece whether there
// is room and whether the memory is shared; for a line of ten pieces that is most of the work.

/// Writes into reserved memory, and never beyond it.
struct RawBufferWriter {
  private let room: UnsafeMutableRawBufferPointer
  private(set) var count = 0

  init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

  mutating func write(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    claim(bytes.count).copyMemory(from: source, byteCount: bytes.count)
  }

  mutating func write(_ text: StaticString) {
    write(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// As a JSON string with its quotes.
  mutating func write(text: UnsafeRawBufferPointer) {
    guard JSONText.isPlain(text) else {
      var json: [UInt8] = []
      JSONText.append(text, to: &json)
      return json.withUnsafeBytes { write($0) }
    }
    write("\"")
    write(text)
    write("\"")
  }

  /// Sixteen digits.
  mutating func write(hexadecimal word: UInt64) {
    let place = claim(16)
    let (high, low) = (UInt32(truncatingIfNeeded: word >> 32), UInt32(truncatingIfNeeded: word))
    place.storeBytes(of: HexDigits.ascii(high).littleEndian, as: UInt64.self)
    place.storeBytes(of: HexDigits.ascii(low).littleEndian, toByteOffset: 8, as: UInt64.self)
  }

  mutating func write(decimal number: Int64) {
    DecimalDigits.with(number) { write($0) }
  }

  /// The next bytes of the room, to be filled by the caller.
  mutating func claim(_ bytes: Int) -> UnsafeMutableRawPointer {
    guard let start = room.baseAddress, bytes <= room.count - count else {
      preconditionFailure("\(bytes) bytes were to be written where \(room.count - count) have room")
    }
    defer { count += bytes }
    return start + count
  }
}
