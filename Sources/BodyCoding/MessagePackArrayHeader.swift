// The header of a msgpack array, which contains the number of elements. fixarray has it in the low half of its only
// byte; array 16 and array 32 have it in the next two or four bytes, big-endian. The elements aren't read: that would
// need all of msgpack's types and the whole body, and every reader of the batch uses the header.
//
// An announced number is trusted only if the body can have enough bytes for it. Otherwise five bytes could announce
// four billion events.

struct MessagePackArrayHeader: EventCounter {
  /// Maximum bytes of a header.
  static let longest = 5

  private enum State {
    case beginning
    case length(missing: Int)
    case known
    case failed(EventCount.Failure)
  }

  private let limit: Int
  private let bytes: Int
  private var state = State.beginning
  private var offset = 0
  private var announced = 0

  /// - Parameters:
  ///   - limit: Maximum elements.
  ///   - bytes: Maximum bytes of the whole body, including the header.
  init(limit: Int, bytes: Int) {
    self.limit = limit
    self.bytes = bytes
  }

  mutating func read(_ piece: RawSpan) -> Decompression.Demand {
    for index in 0..<piece.byteCount {
      switch state {
      case .beginning: begin(piece.byte(index))
      case .length(let missing):
        announced = announced << 8 | Int(piece.byte(index))
        state = missing == 1 ? .known : .length(missing: missing - 1)
      case .known, .failed: return .enough
      }
      offset += 1
    }
    switch state {
    case .beginning, .length: return .more
    case .known, .failed: return .enough
    }
  }

  private mutating func begin(_ byte: UInt8) {
    switch byte {
    case 0x90...0x9F:
      announced = Int(byte & 0x0F)
      state = .known
    case 0xDC: state = .length(missing: 2)
    case 0xDD: state = .length(missing: 4)
    default: state = .failed(.unexpected(byte, at: offset, expected: .messagePackArray))
    }
  }

  func count() throws(EventCount.Failure) -> Int {
    switch state {
    case .beginning: throw .unexpected(nil, at: offset, expected: .messagePackArray)
    case .length: throw .unexpected(nil, at: offset, expected: .messagePackLength)
    case .failed(let failure): throw failure
    case .known:
      guard announced <= limit else { throw .tooMany(limit: limit) }
      guard announced <= bytes - offset else { throw .tooShort(announced: announced, bytes: bytes - offset) }
      return announced
    }
  }
}
