// One seed decides everything in a run. SplitMix64: a few lines, any seed will do, and it is the same on every machine, which
// the standard library's ways to pick from a range are too for as long as its version stays.

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
