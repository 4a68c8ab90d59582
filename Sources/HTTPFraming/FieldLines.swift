// The lines of a header or of trailers, one at a time. Nothing is consumed before the section is complete, so a line is
// two ranges of offsets. The position is remembered, so that a header that arrives byte by byte isn't searched from its
// start again and again. Each decision depends only on the bytes up to one offset. So the way in which the stream is
// cut changes neither the result nor, if there are several errors, the reported one.

internal import Bytes

struct FieldLines {
  enum Line {
    case field(name: Range<Int>, value: Range<Int>)
    /// The empty line arrived; the section ends before this offset.
    case end(Int)
    case incomplete
    case refused(ProtocolError)
  }

  private enum Place {
    case lineStart
    case name
    case beforeValue
    case value
    case lineFeed
    case lastLineFeed
  }

  private var place = Place.lineStart
  private var cursor: Int
  private let start: Int
  private let boundary: Int
  private let tooLarge: ProtocolError
  private var lineStart: Int
  private var nameEnd = 0
  private var valueStart = 0

  /// - Parameters:
  ///   - start: The section's offset in the bytes that are passed to ``next(_:)``.
  ///   - limit: Maximum bytes without the empty line at its end.
  ///   - tooLarge: The error for a larger section.
  init(from start: Int, limit: Int, tooLarge: ProtocolError) {
    self.start = start
    cursor = start
    lineStart = start
    boundary = start + limit
    self.tooLarge = tooLarge
  }

  /// The next line. `bytes` must always begin at the same offset of the stream.
  mutating func next(_ bytes: RawSpan) -> Line {
    let end = min(bytes.byteCount, boundary)
    while true {
      switch place {
      case .lineStart:
        // The empty line at the end may be beyond the limit.
        guard cursor < bytes.byteCount else { return .incomplete }
        let first = bytes.byte(cursor)
        if first == .carriageReturn {
          cursor += 1
          place = .lastLineFeed
        } else if first.isBlank {
          return .refused(cursor == start ? .leadingWhitespace : .foldedField)
        } else if first == .colon {
          return .refused(.emptyFieldName)
        } else {
          lineStart = cursor
          place = .name
        }

      case .name:
        cursor = bytes.firstNonToken(from: cursor, to: end)
        guard cursor < end else { return unfinished(bytes) }
        switch bytes.byte(cursor) {
        case .colon:
          nameEnd = cursor
          cursor += 1
          place = .beforeValue
        case .space, .tab: return .refused(.whitespaceBeforeColon)
        case .lineFeed: return .refused(.bareLineFeed)
        case .carriageReturn: return .refused(.missingColon)
        default: return .refused(.invalidFieldName)
        }

      case .beforeValue:
        while cursor < end, bytes.byte(cursor).isBlank { cursor += 1 }
        guard cursor < end else { return unfinished(bytes) }
        valueStart = cursor
        place = .value

      case .value:
        cursor = bytes.firstControl(from: cursor, to: end)
        guard cursor < end else { return unfinished(bytes) }
        switch bytes.byte(cursor) {
        case .tab: cursor += 1
        case .carriageReturn:
          cursor += 1
          place = .lineFeed
        case .lineFeed: return .refused(.bareLineFeed)
        default: return .refused(.invalidFieldValue)
        }

      case .lineFeed:
        guard cursor < end else { return unfinished(bytes) }
        guard bytes.byte(cursor) == .lineFeed else { return .refused(.bareCarriageReturn) }
        var valueEnd = cursor - 1
        cursor += 1
        place = .lineStart
        while valueEnd > valueStart, bytes.byte(valueEnd - 1).isBlank { valueEnd -= 1 }
        return .field(name: lineStart..<nameEnd, value: valueStart..<valueEnd)

      case .lastLineFeed:
        guard cursor < bytes.byteCount else { return .incomplete }
        guard bytes.byte(cursor) == .lineFeed else { return .refused(.bareCarriageReturn) }
        return .end(cursor + 1)
      }
    }
  }

  /// The result if a line has no end yet: an error if the limit is reached.
  private func unfinished(_ bytes: RawSpan) -> Line {
    cursor >= boundary ? .refused(tooLarge) : .incomplete
  }
}
