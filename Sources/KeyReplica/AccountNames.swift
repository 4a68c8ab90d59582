// The names of accounts. Each name is stored once, even if the account has many keys. Names are never released, so
// there are as many as accounts seen since the process started.
//
// Every admitted request reads a name, on any thread. So reading takes no lock: names never move and never change. They
// are stored in chunks, each twice as long as the one before, and the list of chunks has room for the maximum number.
// This is safe because another thread gets a number only from a bucket, and the bucket's lock orders the write of the
// name before its read.
//
// For every record that is read, the number of its account's name is looked up, by the name's bytes, without making a
// string. The lookup table has numbers and a part of the names' hashes; a dictionary would store all names a second
// time.

internal import Synchronization

final class AccountNames: Sendable {
  struct Number: Sendable, Hashable {
    let value: UInt32
    init(_ value: UInt32) { self.value = value }
  }

  private static let firstChunk = 1024
  /// A bucket stores 30 bits of a number.
  private static let limit = 1 << 30

  private let index = Mutex(Index())
  // Written under the lock, each element once. Read only for numbers from a bucket, whose lock was taken after the
  // write.
  private nonisolated(unsafe) let chunks: UnsafeMutablePointer<UnsafeMutablePointer<String>?>
  private static let chunkCount = place(of: limit - 1).chunk + 1

  init() {
    chunks = .allocate(capacity: Self.chunkCount)
    chunks.initialize(repeating: nil, count: Self.chunkCount)
  }

  deinit {
    for number in 0..<count {
      let (chunk, offset) = Self.place(of: number)
      chunks[chunk]?.advanced(by: offset).deinitialize(count: 1)
    }
    for chunk in 0..<Self.chunkCount { chunks[chunk]?.deallocate() }
    chunks.deallocate()
  }

  var count: Int { index.withLock { $0.count } }

  /// - Parameter number: From an entry of a bucket, or from ``number(of:)`` on the same thread.
  func name(of number: Number) -> String {
    let (chunk, offset) = Self.place(of: Int(number.value))
    // Every number has a name.
    return chunks[chunk]![offset]
  }

  func number(of name: String) -> Number {
    var name = name
    return name.withUTF8 { numbers(of: [UnsafeRawBufferPointer($0)])[0] }
  }

  /// The numbers of many names at once. A read from uncached memory takes as long as hashing a record; here many such
  /// reads overlap.
  /// - Parameter names: In UTF-8.
  func numbers(of names: [UnsafeRawBufferPointer]) -> [Number] {
    index.withLock { index in
      let hashes = names.map { index.hash(of: $0) }
      let homes = hashes.map { index.home(of: $0) }
      return names.indices.map { place in
        let (name, hash) = (names[place], hashes[place])
        if let known = homes[place].number(where: hash), isName(name, of: known) { return known }
        if let known = index.find(hash, where: { isName(name, of: $0) }) { return known }
        return add(name, hash, to: &index)
      }
    }
  }

  private func add(_ name: UnsafeRawBufferPointer, _ hash: UInt32, to index: inout Index) -> Number {
    precondition(index.count < Self.limit, "more than \(Self.limit) accounts")
    let (chunk, offset) = Self.place(of: index.count)
    if offset == 0 { chunks[chunk] = .allocate(capacity: Self.firstChunk << chunk) }
    chunks[chunk]!.advanced(by: offset).initialize(to: String(decoding: name, as: UTF8.self))
    return index.add(hash)
  }

  private func isName(_ name: UnsafeRawBufferPointer, of number: Number) -> Bool {
    var known = self.name(of: number)
    return known.withUTF8 { $0.count == name.count && $0.elementsEqual(name) }
  }

  private static func place(of number: Int) -> (chunk: Int, offset: Int) {
    let shifted = number + firstChunk
    let chunk = Int.bitWidth - 1 - shifted.leadingZeroBitCount - firstChunk.trailingZeroBitCount
    return (chunk, shifted - (firstChunk << chunk))
  }

  /// Numbers by the hashes of their names.
  private struct Index {
    /// A number plus one in the low bits, the name's hash in the high bits; 0 if the slot is empty.
    struct Slot {
      var bits: UInt64 = 0
      var isFree: Bool { bits == 0 }
      var hash: UInt32 { UInt32(truncatingIfNeeded: bits >> 32) }
      func number(where hash: UInt32) -> Number? {
        isFree || self.hash != hash ? nil : Number(UInt32(truncatingIfNeeded: bits) - 1)
      }
    }

    private(set) var count = 0
    /// At most half of the slots are used.
    private var slots = [Slot](repeating: Slot(), count: 2 * firstChunk)

    /// This table's own random seed, so that clients can't choose names with the same hash.
    private let seed = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max) | 1)

    /// Eight bytes at a time. Each is multiplied, and the two halves of the product are combined.
    func hash(of name: UnsafeRawBufferPointer) -> UInt32 {
      var hash = seed.0 ^ UInt64(name.count)
      func fold(_ word: UInt64) {
        let product = (hash ^ word).multipliedFullWidth(by: seed.1)
        hash = product.high ^ product.low
      }
      var offset = 0
      while offset + 8 <= name.count {
        fold(name.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        offset += 8
      }
      var rest: UInt64 = 0
      while offset < name.count {
        rest = rest << 8 | UInt64(name[offset])
        offset += 1
      }
      fold(rest)
      fold(seed.0)
      return UInt32(truncatingIfNeeded: hash >> 32)
    }

    /// The first slot to check for a name with this hash. If another name uses it, the next ones are checked.
    func home(of hash: UInt32) -> Slot { slots[Int(hash) & (slots.count - 1)] }

    func find(_ hash: UInt32, where isIt: (Number) -> Bool) -> Number? {
      var place = Int(hash) & (slots.count - 1)
      while !slots[place].isFree {
        if let number = slots[place].number(where: hash), isIt(number) { return number }
        place = (place + 1) & (slots.count - 1)
      }
      return nil
    }

    /// Adds the next number.
    /// - Returns: The number.
    mutating func add(_ hash: UInt32) -> Number {
      count += 1
      if 2 * count > slots.count {
        let taken = slots.filter { !$0.isFree }
        slots = Array(repeating: Slot(), count: 2 * slots.count)
        for slot in taken { put(slot) }
      }
      put(Slot(bits: UInt64(hash) << 32 | UInt64(count)))
      return Number(UInt32(count - 1))
    }

    private mutating func put(_ slot: Slot) {
      var place = Int(slot.hash) & (slots.count - 1)
      while !slots[place].isFree { place = (place + 1) & (slots.count - 1) }
      slots[place] = slot
    }
  }
}
