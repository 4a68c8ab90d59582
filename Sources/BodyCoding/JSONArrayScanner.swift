// Counts the elements of a JSON array, in one pass over pieces of any size, with a few words of memory.
//
// It reads only the parts that determine the number: the open brackets, the beginnings and ends of strings, and every
// byte between the array's own elements. Inside an element it only rejects bytes that JSON doesn't allow outside of
// strings, because comments or strings in other quotation marks could hide a bracket. It doesn't check the order of
// colons, commas, numbers and literals there, their spelling, or UTF-8; a parser does that later. So, within its
// limits, it accepts all JSON and some other texts. Any parser that accepts such a text finds the same number of
// elements.
//
// Rejected: a complete parser. It would reject more texts and cost more for each byte, but the worker would still store
// the rejected bodies unchanged.
//
// The text must be UTF-8 without a byte order mark, as RFC 8259 (8.1) requires.

struct JSONArrayScanner: EventCounter {
  /// Maximum levels of arrays and objects, including the outer array: one bit for each.
  static let deepest = UInt64.bitWidth

  private enum State {
    /// Only white space so far.
    case beginning
    /// After the array's opening bracket.
    case first
    /// After a comma of the array.
    case next
    /// In a number or a literal that is an element.
    case scalar
    /// In a string, anywhere.
    case string
    /// In an element that is an array or an object, outside of strings.
    case nested
    /// After an element.
    case following
    /// After the array.
    case ended
    case failed(EventCount.Failure)
  }

  private let limit: Int
  private var state = State.beginning
  private var elements = 0
  /// Bytes in the pieces before this one.
  private var offset = 0
  /// Whether the last piece ended with a backslash in a string.
  private var isEscaped = false
  private var depth = 0
  /// Which of the open brackets are braces: the innermost one is the lowest bit.
  private var braces: UInt64 = 0

  /// - Parameter limit: Maximum elements.
  init(limit: Int) { self.limit = limit }

  mutating func read(_ piece: RawSpan) -> Decompression.Demand {
    var at = 0
    while at < piece.byteCount {
      switch state {
      case .string: at = skipString(piece, from: at)
      case .nested: at = skipNested(piece, from: at)
      case .failed: return .enough
      default:
        step(piece.byte(at), at: offset + at)
        at += 1
      }
    }
    offset += piece.byteCount
    if case .failed = state { return .enough }
    return .more
  }

  func count() throws(EventCount.Failure) -> Int {
    switch state {
    case .ended: return elements
    case .failed(let failure): throw failure
    default: throw .unexpected(nil, at: offset, expected: expectation)
    }
  }

  /// The bytes that are allowed in this state.
  private var expectation: EventCount.Expectation {
    switch state {
    case .beginning: .array
    case .first: .valueOrEnd
    case .next: .value
    case .scalar, .following: .commaOrEnd
    case .string: .stringEnd
    case .nested: braces & 1 == 1 ? .restOfObject : .restOfArray
    case .ended, .failed: .nothing
    }
  }

  /// Reads a byte of the array itself, or of a number or a literal in it.
  private mutating func step(_ byte: UInt8, at place: Int) {
    if byte.isWhiteSpace {
      if case .scalar = state { state = .following }
      return
    }
    switch (state, byte) {
    case (.beginning, .openingBracket): open(byte, at: place, then: .first)
    case (.first, .closingBracket), (.scalar, .closingBracket), (.following, .closingBracket): state = .ended
    case (.scalar, .comma), (.following, .comma): state = .next
    case (.scalar, _) where byte.isInScalar: break
    case (.first, _), (.next, _): begin(byte, at: place)
    default: state = .failed(.unexpected(byte, at: place, expected: expectation))
    }
  }

  /// The first byte of an element.
  private mutating func begin(_ byte: UInt8, at place: Int) {
    let begun: State
    switch byte {
    case .quotationMark: begun = .string
    case .openingBracket, .openingBrace: begun = .nested
    case .minus, .zero ... .nine, .f, .n, .t: begun = .scalar
    default:
      state = .failed(.unexpected(byte, at: place, expected: expectation))
      return
    }
    guard elements < limit else {
      state = .failed(.tooMany(limit: limit))
      return
    }
    elements += 1
    if case .nested = begun { open(byte, at: place, then: .nested) } else { state = begun }
  }

  private mutating func open(_ byte: UInt8, at place: Int, then inside: State) {
    guard depth < Self.deepest else {
      state = .failed(.tooDeep(limit: Self.deepest, at: place))
      return
    }
    depth += 1
    braces = braces << 1 | (byte == .openingBrace ? 1 : 0)
    state = inside
  }

  /// - Returns: The offset to continue at: after the string's end, or at the piece's end.
  private mutating func skipString(_ piece: RawSpan, from start: Int) -> Int {
    var at = start
    if isEscaped {
      isEscaped = false
      at += 1
    }
    while true {
      at = piece.firstQuotationMarkOrBackslash(from: at)
      if at == piece.byteCount { return at }
      if piece.byte(at) == .quotationMark { break }
      // An escaped character never ends a string. The digits of \uXXXX don't either.
      if at + 1 == piece.byteCount {
        isEscaped = true
        return at + 1
      }
      at += 2
    }
    state = depth == 1 ? .following : .nested
    return at + 1
  }

  /// - Returns: The offset to continue at: after a string's beginning, after the element's end, or at the piece's end.
  private mutating func skipNested(_ piece: RawSpan, from start: Int) -> Int {
    var at = start
    while at < piece.byteCount {
      let byte = piece.byte(at)
      switch byte {
      case .quotationMark:
        state = .string
        return at + 1
      case .openingBracket, .openingBrace:
        open(byte, at: offset + at, then: .nested)
        if case .failed = state { return at }
      case .closingBracket, .closingBrace:
        guard (braces & 1 == 1) == (byte == .closingBrace) else {
          state = .failed(.unexpected(byte, at: offset + at, expected: expectation))
          return at
        }
        braces >>= 1
        depth -= 1
        if depth == 1 {
          state = .following
          return at + 1
        }
      default:
        guard byte.isOutsideOfStrings else {
          state = .failed(.unexpected(byte, at: offset + at, expected: expectation))
          return at
        }
      }
      at += 1
    }
    return at
  }
}

extension UInt8 {
  fileprivate static let quotationMark = UInt8(ascii: "\"")
  fileprivate static let backslash = UInt8(ascii: "\\")
  fileprivate static let openingBracket = UInt8(ascii: "[")
  fileprivate static let closingBracket = UInt8(ascii: "]")
  fileprivate static let openingBrace = UInt8(ascii: "{")
  fileprivate static let closingBrace = UInt8(ascii: "}")
  fileprivate static let comma = UInt8(ascii: ",")
  fileprivate static let colon = UInt8(ascii: ":")
  fileprivate static let minus = UInt8(ascii: "-")
  fileprivate static let zero = UInt8(ascii: "0")
  fileprivate static let nine = UInt8(ascii: "9")
  fileprivate static let f = UInt8(ascii: "f")
  fileprivate static let n = UInt8(ascii: "n")
  fileprivate static let t = UInt8(ascii: "t")

  fileprivate var isWhiteSpace: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }

  /// Whether the byte is allowed in an array or an object, apart from brackets and strings.
  fileprivate var isOutsideOfStrings: Bool { isInScalar || isWhiteSpace || self == .comma || self == .colon }

  /// Whether the byte is allowed in a number or a literal, after its first byte.
  fileprivate var isInScalar: Bool {
    self &- 0x30 < 10 || (self | 0x20) &- 0x61 < 26 || self == UInt8(ascii: "+") || self == .minus
      || self == UInt8(ascii: ".")
  }
}

extension RawSpan {
  @inline(__always) func byte(_ offset: Int) -> UInt8 { unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

  /// Searches from `start`, eight bytes at a time. Returns the count of bytes if there is none.
  fileprivate func firstQuotationMarkOrBackslash(from start: Int) -> Int {
    var at = start
    while at + 8 <= byteCount {
      let word = UInt64(littleEndian: unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
      let (quotes, backslashes) = (word ^ 0x2222_2222_2222_2222, word ^ 0x5C5C_5C5C_5C5C_5C5C)
      // The lowest mark is right. A borrow can set wrong marks only above it.
      let marks =
        ((quotes &- 0x0101_0101_0101_0101) & ~quotes | (backslashes &- 0x0101_0101_0101_0101) & ~backslashes)
        & 0x8080_8080_8080_8080
      if marks != 0 { return at + marks.trailingZeroBitCount >> 3 }
      at += 8
    }
    while at < byteCount {
      let byte = byte(at)
      if byte == .quotationMark || byte == .backslash { return at }
      at += 1
    }
    return at
  }
}
