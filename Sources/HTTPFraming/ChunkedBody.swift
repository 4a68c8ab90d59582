// A chunked body (RFC 9112 §7.1). Framing is consumed as it arrives, so that a peer can't make the node buffer it. Only
// trailers are buffered until they are complete. Extensions are parsed by their grammar and discarded. Nobody uses
// them, but a parser that only searches for the line's end may find another end than other parsers.

internal import Bytes

struct ChunkedBody {
  enum Event {
    case incomplete
    /// This number of bytes is framing.
    case skip(Int)
    /// This number of bytes is data.
    case data(Int)
    /// The body ends after this number of bytes.
    case end(Int)
    case refused(ProtocolError)
  }

  fileprivate enum Place {
    case size
    case blankAfterSize
    case extensionStart
    case extensionName
    case blankAfterName
    case valueStart
    case token
    case quoted
    case escaped
    case quotedEnd
    case blankAfterValue
    case sizeLineFeed
    case data
    case dataCarriageReturn
    case dataLineFeed
    case trailers
  }

  private var place = Place.size
  private var digits = 0
  /// The current chunk's size, then the number of its remaining bytes.
  private var size: UInt64 = 0
  private var extensionBytes = 0
  private var bodyBytes = 0
  private var lines = FieldLines(from: 0, limit: 0, tooLarge: .trailersTooLarge)
  private var trailers = 0

  init() {}

  /// Continues with the unread bytes. Incomplete trailers must be passed again.
  mutating func next(_ bytes: RawSpan, within limits: RequestLimits) -> Event {
    switch place {
    case .data:
      // The size is within the limit on bodies.
      let count = min(Int(size), bytes.byteCount)
      guard count > 0 else { return .incomplete }
      size -= UInt64(count)
      if size == 0 { place = .dataCarriageReturn }
      return .data(count)
    case .trailers: return nextTrailers(bytes, within: limits)
    default: return nextFraming(bytes, within: limits)
    }
  }

  /// From the end of one chunk's data to the beginning of the next one's.
  private mutating func nextFraming(_ bytes: RawSpan, within limits: RequestLimits) -> Event {
    var cursor = 0
    while cursor < bytes.byteCount {
      let byte = bytes.byte(cursor)
      cursor += 1
      if place.isExtension(with: byte) {
        extensionBytes += 1
        guard extensionBytes <= limits.chunkExtensionBytes else { return .refused(.chunkExtensionsTooLong) }
      }
      if let refusal = step(byte) { return .refused(refusal) }
      switch place {
      case .data:
        // The last chunk has the size 0, and trailers follow it.
        guard size > 0 else {
          place = .trailers
          lines = FieldLines(from: 0, limit: limits.trailerBytes, tooLarge: .trailersTooLarge)
          return .skip(cursor)
        }
        guard size <= UInt64(limits.bodyBytes - bodyBytes) else { return .refused(.bodyTooLarge) }
        bodyBytes += Int(size)
        return .skip(cursor)
      default: break
      }
    }
    return cursor > 0 ? .skip(cursor) : .incomplete
  }

  /// One byte of framing.
  private mutating func step(_ byte: UInt8) -> ProtocolError? {
    switch place {
    case .dataCarriageReturn:
      guard byte == .carriageReturn else { return .missingChunkEnd }
      place = .dataLineFeed
    case .dataLineFeed:
      guard byte == .lineFeed else { return .missingChunkEnd }
      place = .size
      digits = 0
      size = 0
    case .size:
      if let digit = byte.hexadecimal {
        digits += 1
        guard digits <= 16 else { return .invalidChunkSize }
        size = size << 4 | UInt64(digit)
      } else if digits > 0, byte == .carriageReturn {
        place = .sizeLineFeed
      } else if digits > 0, byte == .semicolon {
        place = .extensionStart
      } else if digits > 0, byte.isBlank {
        place = .blankAfterSize
      } else {
        return byte == .lineFeed ? .bareLineFeed : .invalidChunkSize
      }
    case .blankAfterSize:
      if byte == .semicolon { place = .extensionStart } else if !byte.isBlank { return .invalidChunkSize }
    case .sizeLineFeed:
      guard byte == .lineFeed else { return .bareCarriageReturn }
      place = .data
    default: return stepInExtension(byte)
    }
    return nil
  }

  /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, where BWS are blanks.
  private mutating func stepInExtension(_ byte: UInt8) -> ProtocolError? {
    switch (place, byte) {
    case (.extensionStart, _) where byte.isBlank, (.valueStart, _) where byte.isBlank: break
    case (.extensionStart, _) where byte.isToken: place = .extensionName
    case (.valueStart, _) where byte.isToken: place = .token
    case (.valueStart, .quote): place = .quoted

    case (.extensionName, _) where byte.isToken, (.token, _) where byte.isToken: break
    case (.extensionName, .equals), (.blankAfterName, .equals): place = .valueStart
    case (.extensionName, _) where byte.isBlank, (.blankAfterName, _) where byte.isBlank: place = .blankAfterName

    case (.quoted, .quote): place = .quotedEnd
    case (.quoted, .backslash): place = .escaped
    case (.quoted, _) where byte.isText, (.escaped, _) where byte.isText: place = .quoted

    case (.token, _) where byte.isBlank, (.quotedEnd, _) where byte.isBlank, (.blankAfterValue, _) where byte.isBlank:
      place = .blankAfterValue

    case (.extensionName, .semicolon), (.blankAfterName, .semicolon), (.token, .semicolon), (.quotedEnd, .semicolon),
      (.blankAfterValue, .semicolon):
      place = .extensionStart
    case (.extensionName, .carriageReturn), (.token, .carriageReturn), (.quotedEnd, .carriageReturn):
      place = .sizeLineFeed
    default: return byte == .lineFeed ? .bareLineFeed : .invalidChunkExtension
    }
    return nil
  }

  private mutating func nextTrailers(_ bytes: RawSpan, within limits: RequestLimits) -> Event {
    while true {
      switch lines.next(bytes) {
      case .incomplete: return .incomplete
      case .refused(let refusal): return .refused(refusal)
      case .end(let length): return .end(length)
      case .field(let name, _):
        trailers += 1
        guard trailers <= limits.fieldCount else { return .refused(.trailersTooLarge) }
        // RFC 9110 §6.5.1. Trailers are dropped here, but they are dangerous if any other hop merges them into the
        // header.
        guard FramingField(name, in: bytes) == nil else { return .refused(.forbiddenTrailer) }
      }
    }
  }
}

extension ChunkedBody.Place {
  /// Whether this byte, read here, belongs to an extension.
  fileprivate func isExtension(with byte: UInt8) -> Bool {
    switch self {
    case .size: byte == .semicolon || byte.isBlank
    case .sizeLineFeed, .data, .dataCarriageReturn, .dataLineFeed, .trailers: false
    default: byte != .carriageReturn
    }
  }
}

extension UInt8 {
  fileprivate static let quote: UInt8 = 0x22
  fileprivate static let semicolon: UInt8 = 0x3B
  fileprivate static let equals: UInt8 = 0x3D
  fileprivate static let backslash: UInt8 = 0x5C
}
