// A bucket as received from Redis, before it is decoded. Names and values alternate in one piece of memory. A node
// reads a million of them before it is ready, and an object for each name and value would be most of the cost.

/// A bucket from one atomic read: names and values as in Redis, undecoded.
public struct RawBucket: Sendable {
  /// The reserved field's value; nil if there is none.
  public private(set) var summary: [UInt8]?
  /// Names and values, which alternate, and the end of each.
  private let bytes: [UInt8]
  private let ends: [Int32]
  /// The index of the summary's pair.
  private let summaryPair: Int?

  /// A bucket in one piece.
  /// - Parameters:
  ///   - bytes: Names and values, which alternate, including the reserved field's.
  ///   - ends: The end of each in these bytes: an even number of ends.
  ///   - reserved: The reserved field's name.
  public init(bytes: [UInt8], ends: [Int32], summaryField reserved: some Collection<UInt8>) {
    precondition(ends.count.isMultiple(of: 2) && (ends.last ?? 0) == bytes.count, "names and values, and nothing else")
    self.bytes = bytes
    self.ends = ends
    var begin = 0
    var found: (pair: Int, value: [UInt8])?
    for pair in 0..<ends.count / 2 {
      let (name, value) = (Int(ends[2 * pair]), Int(ends[2 * pair + 1]))
      if name - begin == reserved.count, bytes[begin..<name].elementsEqual(reserved) {
        found = (pair, Array(bytes[name..<value]))
        break
      }
      begin = value
    }
    summaryPair = found?.pair
    summary = found?.value
  }

  public init(summary: [UInt8]?, fields: [(id: [UInt8], record: [UInt8])]) {
    self.summary = summary
    var (bytes, ends): ([UInt8], [Int32]) = ([], [])
    for string in fields.flatMap({ [$0.id, $0.record] }) {
      bytes += string
      ends.append(Int32(bytes.count))
    }
    (self.bytes, self.ends, summaryPair) = (bytes, ends, nil)
  }

  /// The number of fields besides the summary.
  public var count: Int { ends.count / 2 - (summaryPair == nil ? 0 : 1) }

  /// The fields besides the summary, copied into separate arrays.
  public var fields: [(id: [UInt8], record: [UInt8])] {
    withFields { $0.map { (Array($0.name), Array($0.value)) } }
  }

  /// Calls the body with the fields besides the summary.
  /// - Parameter body: Must not keep any of them.
  func withFields<Result, Failure: Error>(_ body: (Fields) throws(Failure) -> Result) throws(Failure) -> Result {
    try bytes.withUnsafeBufferPointer { (bytes) throws(Failure) in
      try body(Fields(bytes: UnsafeRawBufferPointer(bytes), ends: ends, summaryPair: summaryPair))
    }
  }

  /// A field, as ranges of the bucket's bytes.
  struct Field {
    /// The name and the value, adjacent in memory.
    let both: UnsafeRawBufferPointer
    let nameLength: Int

    var name: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: both[..<nameLength]) }
    var value: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: both[nameLength...]) }
  }

  struct Fields: Sequence, IteratorProtocol {
    fileprivate let bytes: UnsafeRawBufferPointer
    fileprivate let ends: [Int32]
    fileprivate let summaryPair: Int?
    private var pair = 0
    private var begin = 0

    fileprivate init(bytes: UnsafeRawBufferPointer, ends: [Int32], summaryPair: Int?) {
      self.bytes = bytes
      self.ends = ends
      self.summaryPair = summaryPair
    }

    mutating func next() -> Field? {
      if pair == summaryPair { step() }
      guard 2 * pair < ends.count else { return nil }
      defer { step() }
      return Field(
        both: UnsafeRawBufferPointer(rebasing: bytes[begin..<Int(ends[2 * pair + 1])]),
        nameLength: Int(ends[2 * pair]) - begin)
    }

    private mutating func step() {
      begin = Int(ends[2 * pair + 1])
      pair += 1
    }
  }
}

extension RawBucket: Hashable {
  public static func == (left: RawBucket, right: RawBucket) -> Bool {
    left.summary == right.summary
      && left.fields.elementsEqual(right.fields) { $0.id == $1.id && $0.record == $1.record }
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(summary) }
}
