// Version 2 of the PROXY protocol (§2.2): a signature of twelve bytes, four bytes that describe the rest, addresses,
// extensions.
//
// If the header has no addresses (LOCAL, UNSPEC), the bytes after the first sixteen are skipped. The specification
// tells receivers to discard them and doesn't define where extensions would begin. They couldn't change how the
// connection is handled. Addresses of Unix sockets aren't used either, but the offset of their extensions is defined,
// so a checksum there is checked like any other.

internal import Bytes

enum ProxyBlock {
  /// The beginning of a header; no line of text begins like that.
  static let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"

  /// The offset of the addresses.
  private static let fixedLength = 16
  /// Type and length of an extension.
  private static let extensionHeadLength = 3
  /// PP2_TYPE_CRC32C.
  private static let checksumType: UInt8 = 0x03

  private enum Command: UInt8 {
    /// The proxy's own connection, such as a health check.
    case local = 0
    case proxy = 1
  }

  private enum Family: UInt8 {
    case unspecified = 0
    case inet = 1
    case inet6 = 2
    case unix = 3

    /// Source and destination, with their ports.
    var addressesLength: Int {
      switch self {
      case .unspecified: 0
      case .inet: 2 * 4 + 2 * 2
      case .inet6: 2 * 16 + 2 * 2
      case .unix: 2 * 108
      }
    }
  }

  /// DGRAM is treated like STREAM: a proxy for QUIC may send it, and the address is the client's in both cases.
  private enum Transport: UInt8 {
    case unspecified = 0
    case stream = 1
    case datagram = 2
  }

  static func parse(_ bytes: RawSpan) -> ProxyHeader.Outcome {
    let count = bytes.byteCount
    for index in 0..<min(signature.utf8CodeUnitCount, count) where bytes.byte(index) != signature.utf8Start[index] {
      return .refused(.missingHeader)
    }
    guard count > 12 else { return .incomplete }
    guard bytes.byte(12) >> 4 == 2 else { return .refused(.unsupportedVersion) }
    guard let command = Command(rawValue: bytes.byte(12) & 0xF) else { return .refused(.unknownCommand) }
    guard count > 13 else { return .incomplete }
    var family = Family.unspecified
    if command == .proxy {
      guard let named = Family(rawValue: bytes.byte(13) >> 4) else { return .refused(.unknownFamily) }
      guard let transport = Transport(rawValue: bytes.byte(13) & 0xF) else { return .refused(.unknownTransport) }
      guard (named == .unspecified) == (transport == .unspecified) else { return .refused(.unfitTransport) }
      family = named
    }
    guard count >= fixedLength else { return .incomplete }
    let length = fixedLength + Int(bytes.number(at: 14, as: UInt16.self))
    guard length <= ProxyHeader.maximumLength else { return .refused(.headerTooLong) }
    let extensions = fixedLength + family.addressesLength
    guard extensions <= length else { return .refused(.missingAddresses) }
    guard count >= length else { return .incomplete }
    if family != .unspecified, let refusal = fault(inExtensions: extensions..<length, bytes) {
      return .refused(refusal)
    }
    return .complete(length: length, source: source(family, bytes))
  }

  private static func source(_ family: Family, _ bytes: RawSpan) -> IPAddress? {
    switch family {
    case .unspecified, .unix: nil
    case .inet: IPAddress(ipv4: bytes.number(at: fixedLength))
    case .inet6: IPAddress(ipv6: bytes.number(at: fixedLength))
    }
  }

  /// The error in the extensions at the end of the header. Only the checksum is interpreted.
  private static func fault(inExtensions extensions: Range<Int>, _ bytes: RawSpan) -> ProxyHeader.Refusal? {
    var checksum: Range<Int>?
    var at = extensions.lowerBound
    while at < extensions.upperBound {
      let value = at + extensionHeadLength
      guard value <= extensions.upperBound else { return .malformedExtension }
      let end = value + Int(bytes.number(at: at + 1, as: UInt16.self))
      guard end <= extensions.upperBound else { return .malformedExtension }
      if bytes.byte(at) == checksumType {
        guard end - value == 4 else { return .malformedChecksum }
        guard checksum == nil else { return .severalChecksums }
        checksum = value..<end
      }
      at = end
    }
    guard let checksum else { return nil }
    let announced = bytes.number(at: checksum.lowerBound, as: UInt32.self)
    return announced == self.checksum(of: bytes, 0..<extensions.upperBound, without: checksum) ? nil : .wrongChecksum
  }

  /// The checksum of a header with four zeros in the place of the checksum (§2.2.3).
  static func checksum(of bytes: RawSpan, _ header: Range<Int>, without field: Range<Int>) -> UInt32 {
    var checksum = CRC32C()
    for at in header { checksum.add(field.contains(at) ? 0 : bytes.byte(at)) }
    return checksum.value
  }
}
