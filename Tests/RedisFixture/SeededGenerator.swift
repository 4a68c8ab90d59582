// Random tests must be repeatable: the seed is printed when the generator is made, and SLUICE_SEED sets it. SplitMix64,
// because it is a few lines, passes the usual statistical tests and takes any seed, 0 included.

import Foundation

/// A random number generator that repeats itself for the same seed.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  public let seed: UInt64
  private var state: UInt64

  public init(seed: UInt64) {
    self.seed = seed
    state = seed
  }

  /// Seeded from the environment's `SLUICE_SEED`, or else at random; prints the seed and how to repeat the run.
  /// - Parameter test: What the seed is for, as it will be printed.
  public static func announced(for test: String = #function) -> SeededGenerator {
    let given = ProcessInfo.processInfo.environment["SLUICE_SEED"]
    let seed: UInt64
    if let given {
      guard let number = UInt64(given) else { fatalError("SLUICE_SEED must be a number from 0 to 2^64-1") }
      seed = number
    } else {
      seed = UInt64.random(in: 0...UInt64.max)
    }
    print("\(test): seed \(seed), repeat with SLUICE_SEED=\(seed)")
    return SeededGenerator(seed: seed)
  }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
