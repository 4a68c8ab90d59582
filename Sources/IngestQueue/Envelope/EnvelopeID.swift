// The ID of an envelope. The queue may deliver an envelope twice; the sink recognises the ID and stores it once.
//
// There are two kinds, both UUIDs so that any database has a type for them. Without an Idempotency-Key: version 7, time
// first, so that IDs of about the same time are neighbours in the sink's index. With an Idempotency-Key: version 8, a
// hash of that key and of the API key's ID, so that a retry has the same ID at any node and two accounts can't collide.
// Rejected: a counter within the millisecond. Nothing relies on the order of IDs of the same millisecond, and event
// loops would have to share the counter.

internal import Bytes
internal import Crypto
internal import NIOCore

/// The id of an envelope: a UUID of version 7 or 8.
public struct EnvelopeID: Sendable, Hashable {
  /// The 128 bits, the first byte of the text as the highest.
  public let bits: UInt128

  private init(bits: UInt128, version: UInt128) {
    let versionMask: UInt128 = 0xF << 76
    let variantMask: UInt128 = 0b11 << 62
    self.bits = (bits & ~versionMask & ~variantMask) | (version << 76) | (0b10 << 62)
  }

  /// A new ID.
  /// - Parameters:
  ///   - time: Milliseconds since 1970.
  ///   - generator: The source of its 74 random bits.
  public init(time: Int64, using generator: inout some RandomNumberGenerator) {
    let time = UInt128(UInt64(clamping: time) & 0xFFFF_FFFF_FFFF) << 80
    let random = UInt128(generator.next() & 0xFFFF) << 64 | UInt128(generator.next())
    self.init(bits: time | random, version: 7)
  }

  /// The ID of everything that is sent with this Idempotency-Key by this API key.
  /// - Parameters:
  ///   - keyID: The whole ID of the API key.
  ///   - idempotencyKey: The header's value, byte for byte.
  public init(keyID: some Collection<UInt8>, idempotencyKey: some Collection<UInt8>) {
    var hash = SHA256()
    // The length is before each part: without it ("ab", "c") and ("a", "bc") would have the same ID.
    for part in [Array("sluice envelope".utf8), Array(keyID), Array(idempotencyKey)] {
      withUnsafeBytes(of: UInt64(part.count).bigEndian) { hash.update(bufferPointer: $0) }
      hash.update(data: part)
    }
    self.init(bits: hash.finalize().prefix(16).reduce(0) { $0 << 8 | UInt128($1) }, version: 8)
  }

  /// The length of the text: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
  public static let textLength = 36

  /// Reads the 36 characters of a UUID. Nil for anything else. The version isn't checked, so other producers may choose
  /// it.
  public init?(_ text: some Collection<UInt8>) {
    guard text.count == Self.textLength else { return nil }
    var bits: UInt128 = 0
    for (place, byte) in text.enumerated() {
      switch place {
      case 8, 13, 18, 23:
        guard byte == UInt8(ascii: "-") else { return nil }
      default:
        guard let digit = byte.hexadecimal else { return nil }
        bits = bits << 4 | UInt128(digit)
      }
    }
    self.bits = bits
  }

  /// Calls the body with the 36 characters.
  package func withText(_ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.textLength) { text in
      writeText(to: UnsafeMutableRawBufferPointer(text))
      body(UnsafeBufferPointer(text))
    }
  }

  /// Calls the body with `{"id":"…"}`. The body returns nothing: a generic result would make other modules call this
  /// unspecialised, for each answer.
  package func withObject(_ body: (UnsafeRawBufferPointer) -> Void) {
    let (start, end) = (#"{"id":""# as StaticString, #""}"# as StaticString)
    withUnsafeTemporaryAllocation(
      byteCount: start.utf8CodeUnitCount + Self.textLength + end.utf8CodeUnitCount, alignment: 1
    ) { room in
      var object = RawBufferWriter(room)
      object.write(start)
      object.write(self)
      object.write(end)
      body(UnsafeRawBufferPointer(room))
    }
  }

  /// Writes xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx: the digits of four words, with hyphens in between.
  fileprivate func writeText(to text: UnsafeMutableRawBufferPointer) {
    func word(_ index: Int) -> UInt64 { HexDigits.ascii(UInt32(truncatingIfNeeded: bits >> (96 - 32 * index))) }
    let (second, third) = (word(1), word(2))
    text.store(word(0), at: 0)
    text.store(UInt32(truncatingIfNeeded: second), at: 9)
    text.store(UInt32(truncatingIfNeeded: second >> 32), at: 14)
    text.store(UInt32(truncatingIfNeeded: third), at: 19)
    text.store(UInt32(truncatingIfNeeded: third >> 32), at: 24)
    text.store(word(3), at: 28)
    let hyphen = UInt8(ascii: "-")
    (text[8], text[13], text[18], text[23]) = (hyphen, hyphen, hyphen, hyphen)
  }
}

extension EnvelopeID: CustomStringConvertible {
  public var description: String {
    var text = ""
    withText { text = String(decoding: $0, as: UTF8.self) }
    return text
  }
}

extension ByteBuffer {
  /// Writes the id's 36 characters.
  mutating func writeText(of id: EnvelopeID) {
    id.withText { _ = writeBytes($0) }
  }
}

extension RawBufferWriter {
  /// The 36 characters.
  mutating func write(_ id: EnvelopeID) {
    id.writeText(to: UnsafeMutableRawBufferPointer(start: claim(EnvelopeID.textLength), count: EnvelopeID.textLength))
  }
}

extension UnsafeMutableRawBufferPointer {
  /// Writes digits of ``HexDigits``.
  fileprivate func store(_ digits: some FixedWidthInteger & BitwiseCopyable, at place: Int) {
    storeBytes(of: digits.littleEndian, toByteOffset: place, as: type(of: digits))
  }
}
