// One seed decides everything in a run. SplitMix64, because it is a few lines, accepts any seed, and is the same on
// every machine. The standard library's random ranges are the same too, as long as its version doesn't change.

struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// True so many times in a thousand.
  mutating func chance(_ permille: Int) -> Bool { below(1000) < permille }

  /// A number from 0 up to a bound that isn't reached. The tiny bias of a remainder doesn't matter here; its speed does.
  mutating func below(_ bound: Int) -> Int { Int(next() >> 33) % bound }

  mutating func within(_ range: ClosedRange<Int>) -> Int { range.lowerBound + below(range.count) }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}
