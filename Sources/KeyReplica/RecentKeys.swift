// Counts the distinct keys that clients sent lately, in fixed memory.
//
// A key sets one of 65,536 bits, and the number of keys follows from the number of set bits: linear counting (Whang,
// Vander-Zanden, Taylor 1990). Up to some thousand keys the error is below one in a hundred, and the method counts to
// about 700,000. Two sets of bits cover a window: one for its present half, and one for the half before. When a half
// ends, its bits replace the older ones. So the count covers between a half and a whole window.
//
// Event loops note the admitted key of each push here, so that must cost next to nothing. The bit of nearly every key
// is already set, and then the cost is one load and one comparison, without a lock. The bit's number is a part of the
// key's ID, which is a hash already.
//
// Rejected: HyperLogLog. It counts further in a quarter of the memory, but it isn't more precise below 100,000 keys,
// and the union of two halves would have to be counted anew for each question. Rejected: exact sets. Anybody can send
// unknown keys without end.

internal import Synchronization

/// Counts the distinct keys of a sliding window. Any thread may note keys. Only one thread may call ``turn()``.
package final class RecentKeys: Sendable {
  static let bitCount = 1 << 16
  private static let wordCount = bitCount / UInt64.bitWidth

  // Each points to `wordCount` atomic words, from init to deinit. An array can't hold atomics.
  private nonisolated(unsafe) let present: UnsafeMutablePointer<Atomic<UInt64>>
  private nonisolated(unsafe) let former: UnsafeMutablePointer<Atomic<UInt64>>
  /// The number of bits that are set in either half. A key that is noted during ``turn()`` may not be counted.
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

  /// Notes that a client sent a key.
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

  /// A half of the window has ended: keys that were noted before that half are forgotten.
  func turn() {
    var count = 0
    for index in 0..<Self.wordCount {
      let bits = present[index].exchange(0, ordering: .relaxed)
      former[index].store(bits, ordering: .relaxed)
      count += bits.nonzeroBitCount
    }
    marked.store(count, ordering: .relaxed)
  }

  /// The approximate number of distinct keys noted within the window. For few keys it is exact, unless two keys share a
  /// bit.
  package var count: Int { Self.estimate(marked: marked.load(ordering: .relaxed)) }

  /// The number of distinct keys that set this number of bits on average.
  static func estimate(marked: Int) -> Int {
    // If all bits are set, the number of keys can't be determined. The result is a lower bound.
    let unset = max(Double(bitCount - marked), 0.5)
    return Int((Double(bitCount) * logarithm(of: Double(bitCount) / unset)).rounded())
  }

  /// The natural logarithm of a number of at least 1. The standard library has no logarithm, and this module doesn't
  /// import Foundation.
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
