import Foundation
import Testing

/// Random tests are repeatable: the seed is printed, and SLUICE_SEED sets it.
enum TestSeed {
  static func announced(for test: String) throws -> UInt64 {
    let given = try ProcessInfo.processInfo.environment["SLUICE_SEED"].map {
      try #require(UInt64($0), "SLUICE_SEED must be a number")
    }
    let seed = given ?? UInt64.random(in: 0...UInt64.max)
    print("\(test): seed \(seed), repeat with SLUICE_SEED=\(seed)")
    return seed
  }
}
