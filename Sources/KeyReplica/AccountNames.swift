// The names of accounts, each kept once however many keys an account has. They are never released: there are as many as
// the accounts seen since the process started.
//
// Every admitted request asks for a name, on any thread, so asking takes no lock: names never move and never change.
// They are in chunks, each twice as long as the one before, and the list of chunks has room for all possible ones. This
// is safe because another thread gets a number only from a bucket, whose lock orders the name's writing before its
// reading.
//
// Every record that is read looks up the other way, from a name to its number: by the name's bytes, without making a
// string. The table has numbers with a part of their names' hashes; a dictionary would keep all names a second time.

internal import Synchronization

final class AccountNames: Sendable {
  struct Number: Sendable, Hashable {
    let value: UInt32
    init(_ value: UInt32) { self.value = value }
  }

  private static let firstChunk = 1024
  /// A bucket keeps 30 bits of a number.
  private static let limit = 1 << 30

  private let index = Mutex(Index())
  // Written under the lock, each element once. Read only for numbers from a bucket, whose lock was taken after that.
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

  /// - Parameter number: One of an entry of a bucket, or of ``number(of:)`` on the same thread.
  func name(of number: Number) -> String {
    let (chunk, offset) = Self.place(of: Int(number.value))
    // Where there is a number, there is its name.
    return chunks[chunk]![offset]
  }

  func number(of name: String) -> Number {
    var name = name
    return name.withUTF8 { numbers(of: [UnsafeRawBufferPointer($0)])[0] }
  }

  /// The numbers of many names at once: reading memory that is in no cache takes as long as hashing a record, and here
  /// many such reads overlap.
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
    /// A number plus one, and above it the name's hash; 0 if it is empty.
    struct Slot {
      var bits: UInt64 = 0
      var isFree: Bool { bits == 0 }
      var hash: UInt32 { UInt32(truncatingIfNeeded: bits >> 32) }
      func number(where hash: UInt32) -> Number? {
        isFree || self.hash != hash ? nil : Number(UInt32(truncatingIfNeeded: bits) - 1)
      }
    }

    private(set) var count = 0
    /// At most half of them are used.
    private var slots = [Slot](repeating: Slot(), count: 2 * firstChunk)

    /// This table's own seed, so that nobody can choose names with the same hash.
    private let seed = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max) | 1)

    /// Eight bytes at a time, each folded in by a multiplication whose halves are joined.
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

    /// The slot of a name with this hash, unless the slot was taken.
    func home(of hash: UInt32) -> Slot { slots[Int(hash) & (slots.count - 1)] }

    func find(_ hash: UInt32, where isIt: (Number) -> Bool) -> Number? {
      var place = Int(hash) & (slots.count - 1)
      while !slots[place].isFree {
        if let number = slots[place].number(where: hash), isIt(number) { return number }
        place = (place + 1) & (slots.count - 1)
      }
      return nil
    }

    /// - Returns: The next number.
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
