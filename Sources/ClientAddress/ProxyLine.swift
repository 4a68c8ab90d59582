// Version 1 of the PROXY protocol (§2.1): one line of text.
//
// The specification tells receivers to wait for the line's end before they decode. Otherwise they could read "1.2.3.4"
// when "1.2.3.45" is sent. Here a field is complete when the space after it or the line's end has arrived. So each
// field is decoded then, and a wrong one is refused as early as the specification recommends.
//
// In one point this follows HAProxy and not the grammar. The grammar writes IPv6 addresses in groups only. Here one may
// end with an IPv4 address, because inet_ntop writes the client of a socket for both families like that
// (::ffff:192.0.2.1).

internal import Bytes

enum ProxyLine {
  static func parse(_ bytes: RawSpan) -> ProxyHeader.Outcome {
    var reading = Reading()
    do throws(Stop) {
      let source = try reading.source(bytes)
      return .complete(length: reading.cursor, source: source)
    } catch {
      switch error {
      case .incomplete: return .incomplete
      case .refused(let refusal): return .refused(refusal)
      }
    }
  }

  /// Why nothing more can be read now.
  private enum Stop: Error {
    case incomplete
    case refused(ProxyHeader.Refusal)
  }

  /// One pass through the line.
  private struct Reading {
    /// The index of the next byte.
    var cursor = 0

    mutating func source(_ bytes: RawSpan) throws(Stop) -> IPAddress? {
      try skip("PROXY ", bytes, otherwise: .missingHeader)
      guard try next(bytes) == UInt8(ascii: "T") else {
        cursor -= 1
        try skip("UNKNOWN", bytes, otherwise: .unknownProtocol)
        try skipUnknown(bytes)
        return nil
      }
      try skip("CP", bytes, otherwise: .unknownProtocol)
      let read: (RawSpan, Range<Int>) -> IPAddress?
      switch try next(bytes) {
      case UInt8(ascii: "4"): read = { IPAddress.ipv4($0, $1).map { IPAddress(ipv4: $0) } }
      case UInt8(ascii: "6"): read = { IPAddress.ipv6($0, $1).map { IPAddress(ipv6: $0) } }
      default: throw .refused(.unknownProtocol)
      }
      switch try next(bytes) {
      case .space: break
      case .carriageReturn: throw .refused(.missingField)
      case .lineFeed: throw .refused(.bareLineFeed)
      default: throw .refused(.unknownProtocol)
      }
      guard let source = read(bytes, try field(bytes)) else { throw .refused(.invalidSourceAddress) }
      guard read(bytes, try field(bytes)) != nil else { throw .refused(.invalidDestinationAddress) }
      guard bytes.port(try field(bytes)) != nil else { throw .refused(.invalidSourcePort) }
      guard bytes.port(try field(bytes, isLast: true)) != nil else { throw .refused(.invalidDestinationPort) }
      try endLine(bytes)
      return source
    }

    private mutating func next(_ bytes: RawSpan) throws(Stop) -> UInt8 {
      guard cursor < ProxyHeader.maximumLineLength else { throw .refused(.lineTooLong) }
      guard cursor < bytes.byteCount else { throw .incomplete }
      cursor += 1
      return bytes.byte(cursor - 1)
    }

    private mutating func skip(
      _ word: StaticString, _ bytes: RawSpan, otherwise refusal: ProxyHeader.Refusal
    ) throws(Stop) {
      for index in 0..<word.utf8CodeUnitCount {
        guard try next(bytes) == word.utf8Start[index] else { throw .refused(refusal) }
      }
    }

    /// Reads everything up to a field's end, and the space or CR after it.
    private mutating func field(_ bytes: RawSpan, isLast: Bool = false) throws(Stop) -> Range<Int> {
      let start = cursor
      while true {
        let byte = try next(bytes)
        guard byte == .space || byte == .carriageReturn || byte == .lineFeed else { continue }
        guard byte != .lineFeed else { throw .refused(.bareLineFeed) }
        guard cursor - 1 > start else { throw .refused(.emptyField) }
        switch (byte, isLast) {
        case (.carriageReturn, false): throw .refused(.missingField)
        case (.space, true): throw .refused(.extraField)
        default: return start..<cursor - 1
        }
      }
    }

    /// The LF after a CR.
    private mutating func endLine(_ bytes: RawSpan) throws(Stop) {
      guard try next(bytes) == .lineFeed else { throw .refused(.bareCarriageReturn) }
    }

    /// The text after UNKNOWN, which must be ignored up to the line's end.
    private mutating func skipUnknown(_ bytes: RawSpan) throws(Stop) {
      var byte = try next(bytes)
      guard byte == .space || byte == .carriageReturn || byte == .lineFeed else { throw .refused(.unknownProtocol) }
      while byte != .carriageReturn {
        guard byte != .lineFeed else { throw .refused(.bareLineFeed) }
        byte = try next(bytes)
      }
      try endLine(bytes)
    }
  }
}
