// Values of a statement in PostgreSQL's binary form, adjacent in one buffer: nothing is escaped, and bytes are
// unchanged. An array is a header (dimensions, whether there are nulls, the elements' type, their number, the first
// index), and then each element after its length. A null has the length -1.

/// The values of a statement's parameters, in their order.
public struct PostgresValues {
  private var bytes: [UInt8] = []
  private var ranges: [Range<Int>] = []

  public init() {}

  /// The types that are used here, with their OIDs in PostgreSQL's catalogue, which never change.
  public enum ElementType: Int32 {
    case bytea = 17
    case int8 = 20
    case text = 25
    case timestamptz = 1184
    case uuid = 2950
  }

  public mutating func add(_ text: String) {
    let start = bytes.count
    bytes.append(contentsOf: text.utf8)
    ranges.append(start..<bytes.count)
  }

  /// An array of one dimension.
  /// - Parameter write: Appends an element's bytes and returns true; or returns false for a null.
  public mutating func addArray<Elements: Collection>(
    of type: ElementType, _ elements: Elements, _ write: (Elements.Element, inout [UInt8]) -> Bool
  ) {
    let start = bytes.count
    for number in [1, 1, type.rawValue, Int32(elements.count), 1] { Self.append(number, to: &bytes) }
    for element in elements {
      let place = bytes.count
      Self.append(Int32(-1), to: &bytes)
      guard write(element, &bytes) else { continue }
      let length = Int32(bytes.count - place - 4)
      withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(place..<(place + 4), with: $0) }
    }
    ranges.append(start..<bytes.count)
  }

  public mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

  public static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
  }

  /// Calls the body with pointers for libpq, which are valid only during the call.
  func withPointers<Result>(
    _ body: (Int32, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> Result
  ) -> Result {
    bytes.withUnsafeBytes { bytes in
      // An empty value isn't a null, so it needs an address; any address is valid.
      let empty: StaticString = ""
      let pointers = ranges.map { range -> UnsafePointer<CChar>? in
        let start = bytes.baseAddress.map { $0 + range.lowerBound } ?? UnsafeRawPointer(empty.utf8Start)
        return start.assumingMemoryBound(to: CChar.self)
      }
      let lengths = ranges.map { Int32($0.count) }
      let formats = [Int32](repeating: 1, count: ranges.count)
      return body(Int32(ranges.count), pointers, lengths, formats)
    }
  }
}
