import Testing

@testable import IngestNode

struct RandomPoolTests {
  @Test func `no word comes twice, across many fetches and from two pools`() {
    var (one, other) = (RandomPool(), RandomPool())
    let words = (0..<10_000).flatMap { _ in [one.next(), other.next()] }
    // 20,000 of 2^64: one pair in 92 billion runs.
    #expect(Set(words).count == words.count)
    for bit in 0..<64 {
      let share = Double(words.count { $0 >> bit & 1 == 1 }) / Double(words.count)
      // 14 standard deviations.
      #expect(abs(share - 0.5) < 0.05, "bit \(bit)")
    }
  }
}
