// How many distinct keys were shown lately, in fixed memory.
//
// A key sets one of 65,536 bits, and from the number of bits that are set follows the number of keys: linear counting
// (Whang, Vander-Zanden, Taylor 1990). Up to some thousand keys it is off by less than one in a hundred, and it counts
// to about 700,000. Two sets of bits cover a window: the present half, and the half before it. When a half ends, its
// bits replace the older ones. So the count covers between a half and a whole window.
//
// Event loops note admitted keys here for each push, so that must cost next to nothing: a key whose bit is set already,
// as nearly all are, costs one load and one comparison, without a lock. The bits are a part of the key's ID, which is a
// hash already.
//
// Rejected: HyperLogLog. It counts further in a quarter of the memory, but is no better below 100,000 keys, and the
// union of two halves has to be counted anew for each question. Rejected: exact sets. Anybody can send unknown keys
// without end.

internal import Synchronization

/// Counts the distinct keys of a sliding window. Any thread may note keys; one thread alone turns the halves.
package final class RecentKeys: Sendable {
  static let bitCount = 1 << 16
  private static let wordCount = bitCount / UInt64.bitWidth

  // As many words as `wordCount` each, from init to deinit, each an atomic of its own. An array can't hold atomics.
  private nonisolated(unsafe) let present: UnsafeMutablePointer<Atomic<UInt64>>
  private nonisolated(unsafe) let former: UnsafeMutablePointer<Atomic<UInt64>>
  /// Bits that are set in either half. A key that is noted while the halves are turned may be missing.
  private let marked = Atomic<Int>(0)

  init() {
    present = .allocate(capacity: Self.wordCount)
    former = .allocate(capacity: Self.wordCount)
    for index in 0..<Self.wordCount {
      present.advanced(by: index).initialize(to: Atomic(0))
      former.advanced(by: index).initialize(to: Atomic(0))
    }
  }

  deinit {
    present.deinitialize(count: Self.wordCount)
    former.deinitialize(count: Self.wordCount)
    present.deallocate()
    former.deallocate()
  }

  /// Notes that a key was shown.
  package func note(_ key: KeyID) {
    let number = Int(truncatingIfNeeded: key.words.3 & UInt64(Self.bitCount - 1))
    let index = number >> 6
    let bit: UInt64 = 1 << UInt64(number & 63)
    if present[index].load(ordering: .relaxed) & bit == 0 { mark(index, bit) }
  }

  private func mark(_ index: Int, _ bit: UInt64) {
    let before = present[index].bitwiseOr(bit, ordering: .relaxed).oldValue | former[index].load(ordering: .relaxed)
    if before & bit == 0 { marked.add(1, ordering: .relaxed) }
  }

  /// Half of the window has passed: what was noted before it is forgotten.
  func turn() {
    var count = 0
    for index in 0..<Self.wordCount {
      let bits = present[index].exchange(0, ordering: .relaxed)
      former[index].store(bits, ordering: .relaxed)
      count += bits.nonzeroBitCount
    }
    marked.store(count, ordering: .relaxed)
  }

  /// About how many distinct keys were noted within the window. Exact for a few, unless two of them share a bit.
  package var count: Int { Self.estimate(marked: marked.load(ordering: .relaxed)) }

  /// The number of keys that set this number of bits on average.
  static func estimate(marked: Int) -> Int {
    // With no bit left the number is unknown, and at least this.
    let unset = max(Double(bitCount - marked), 0.5)
    return Int((Double(bitCount) * logarithm(of: Double(bitCount) / unset)).rounded())
  }

  /// The natural logarithm of a number from 1 up. The standard library has none, and this module imports no other.
  private static func logarithm(of number: Double) -> Double {
    let ratio = (number.significand - 1) / (number.significand + 1)
    var (power, sum) = (ratio, 0.0)
    for divisor in stride(from: 1.0, through: 21, by: 2) {
      sum += power / divisor
      power *= ratio * ratio
    }
    return Double(number.exponent) * 0.693_147_180_559_945_3 + 2 * sum
  }
}
