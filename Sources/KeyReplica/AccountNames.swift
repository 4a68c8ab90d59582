// The names of accounts, each kept once however many keys an account has. They are never let go: there are as many as accounts were
// seen since the process started.
//
// Every request that is admitted asks for a name, on any thread, so asking takes no lock: names never move and never change. They are
// in chunks, each twice as long as the one before, and the list of chunks has room for all that there can be. What makes
// this safe is how a number gets to another thread: only in a bucket, whose lock orders the name's writing before its reading.

internal import Synchronization

final class AccountNames: Sendable {
  struct Number: Sendable, Hashable {
    let value: UInt32
    init(_ value: UInt32) { self.value = value }
  }

  private static let firstChunk = 1024
  /// A bucket keeps 30 bits of a number.
  private static let limit = 1 << 30

  private let numbers = Mutex<[String: UInt32]>([:])
  // Written under the lock, each place once; read only for numbers that came through a bucket's lock after that.
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

  var count: Int { numbers.withLock { $0.count } }

  /// - Parameter number: One of an entry of a bucket, or of ``number(of:)`` on the same thread.
  func name(of number: Number) -> String {
    let (chunk, offset) = Self.place(of: Int(number.value))
    // Where there is a number, there is its name.
    return chunks[chunk]![offset]
  }

  func number(of name: String) -> Number {
    numbers.withLock { numbers in
      if let known = numbers[name] { return Number(known) }
      precondition(numbers.count < Self.limit, "more than \(Self.limit) accounts")
      let (chunk, offset) = Self.place(of: numbers.count)
      if offset == 0 { chunks[chunk] = .allocate(capacity: Self.firstChunk << chunk) }
      chunks[chunk]!.advanced(by: offset).initialize(to: name)
      let number = UInt32(numbers.count)
      numbers[name] = number
      return Number(number)
    }
  }

  private static func place(of number: Int) -> (chunk: Int, offset: Int) {
    let shifted = number + firstChunk
    let chunk = Int.bitWidth - 1 - shifted.leadingZeroBitCount - firstChunk.trailingZeroBitCount
    return (chunk, shifted - (firstChunk << chunk))
  }
}
