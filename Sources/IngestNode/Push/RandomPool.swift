// Random bits for IDs, fetched in larger portions. Each envelope needs two words. The system's generator needs a system
// call for each, which takes as long as encoding the envelope. Each word is used once, on one event loop.

internal import Foundation

/// The system's random numbers, 32 fetched at a time. For one event loop.
struct RandomPool: RandomNumberGenerator, Sendable {
  // The maximum of one call of getentropy: 256 bytes.
  private var words = [UInt64](repeating: 0, count: 32)
  private var left = 0

  mutating func next() -> UInt64 {
    if left == 0 { fetch() }
    left -= 1
    return words[left]
  }

  private mutating func fetch() {
    let result = words.withUnsafeMutableBytes { getentropy($0.baseAddress, $0.count) }
    // It fails only if the kernel has no such call, or for more bytes.
    precondition(result == 0, "the system gives no random numbers: \(String(cString: strerror(errno)))")
    left = words.count
  }
}
