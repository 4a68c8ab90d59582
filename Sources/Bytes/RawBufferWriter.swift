// Writes several pieces into memory that is reserved once. ByteBuffer's own methods check for each piece whether there
// is space and whether the memory is shared. For a line of ten pieces these checks are most of the work.

/// Writes into existing memory, and never beyond its end. Usable from inline like the other types here: otherwise the
/// methods of a package type aren't inlined in other modules, even if they are inlinable.
@usableFromInline package struct RawBufferWriter {
  @usableFromInline let room: UnsafeMutableRawBufferPointer
  @usableFromInline var written = 0

  /// Bytes written.
  @inlinable package var count: Int { written }

  @inlinable package init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

  @inlinable package mutating func write(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    claim(bytes.count).copyMemory(from: source, byteCount: bytes.count)
  }

  @inlinable package mutating func write(_ text: StaticString) {
    write(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Sixteen digits.
  @inlinable package mutating func write(hexadecimal word: UInt64) {
    let start = claim(16)
    let (high, low) = (UInt32(truncatingIfNeeded: word >> 32), UInt32(truncatingIfNeeded: word))
    start.storeBytes(of: HexDigits.ascii(high).littleEndian, as: UInt64.self)
    start.storeBytes(of: HexDigits.ascii(low).littleEndian, toByteOffset: 8, as: UInt64.self)
  }

  @inlinable package mutating func write(decimal number: Int64) {
    DecimalDigits.with(number) { write($0) }
  }

  /// Reserves the next bytes of the memory. The caller must fill them.
  @inlinable package mutating func claim(_ bytes: Int) -> UnsafeMutableRawPointer {
    guard let start = room.baseAddress, bytes <= room.count - written else {
      Self.fail(bytes, room: room.count - written)
    }
    defer { written += bytes }
    return start + written
  }

  @usableFromInline static func fail(_ bytes: Int, room: Int) -> Never {
    preconditionFailure("\(bytes) bytes were to be written where \(room) have room")
  }
}
