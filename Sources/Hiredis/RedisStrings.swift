// Many short strings in one block of memory. Otherwise an array of thousands of strings, such as a bucket of the key
// store, would be thousands of objects. Creating, counting and freeing these objects costs more than everything else
// that is done with a million keys.

/// The strings of an array that contains nothing else, stored one after another.
public struct RedisStrings: Sendable, Equatable {
  /// The bytes of all strings.
  public private(set) var bytes: [UInt8] = []
  /// The end of each string in ``bytes``; the next one begins there.
  public private(set) var ends: [Int32] = []

  init(reservingElements count: Int) {
    ends.reserveCapacity(count)
  }

  public init(_ strings: some Sequence<some Collection<UInt8>>) {
    for string in strings {
      bytes += string
      ends.append(Int32(bytes.count))
    }
  }

  mutating func append(_ string: UnsafeRawBufferPointer) {
    bytes.append(contentsOf: string)
    // A reply has at most 1 GiB.
    ends.append(Int32(truncatingIfNeeded: bytes.count))
  }

  public var count: Int { ends.count }

  public subscript(index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : Int(ends[index - 1]))..<Int(ends[index])]
  }

  /// Each string as a separate reply.
  var replies: [RedisReply] { (0..<count).map { .bulk(Array(self[$0])) } }
}
