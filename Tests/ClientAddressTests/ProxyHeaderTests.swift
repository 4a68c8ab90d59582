// Random bytes, and headers damaged at random: the result doesn't depend on the cuts, and is never another address.
// `Scripts/fuzz proxy` runs longer, guided by coverage.

import ClientAddress
import RedisFixture
import Testing

@Suite struct ProxyHeaderTests {
  @Test func `nothing is the beginning of a header`() {
    #expect(outcome(of: [UInt8]()) == .incomplete)
  }

  @Test func `what begins like no header is refused with its first byte`() {
    for byte in UInt8.min...UInt8.max {
      let isBeginning = byte == 0x0D || byte == UInt8(ascii: "P")
      #expect(outcome(of: [byte]) == (isBeginning ? .incomplete : .refused(.missingHeader)))
    }
  }

  @Test func `random bytes are no header, whatever they begin with`() {
    var generator = SeededGenerator.announced()
    let beginnings: [[UInt8]] = [
      [], Array("PROXY ".utf8), Array("PROXY TCP4 ".utf8), Array("PROXY TCP6 ".utf8), GeneratedHeader.signature,
      GeneratedHeader.signature + [0x21, 0x11], GeneratedHeader.signature + [0x21, 0x21, 0],
    ]
    var refusals: Set<ProxyHeader.Refusal> = []
    for _ in 0..<3_000 {
      var stream = beginnings.randomElement(using: &generator)!
      for _ in 0..<Int.random(in: 0...80, using: &generator) {
        stream.append(UInt8.random(in: 0...255, using: &generator))
      }
      switch outcome(of: stream) {
      case .incomplete: break
      case .refused(let refusal): refusals.insert(refusal)
      // Version 2 has no redundancy but a checksum.
      case .complete(_, nil): break
      case .complete:
        guard stream.starts(with: GeneratedHeader.signature) else {
          Issue.record("seed \(generator.seed): \(stream) has a source")
          return
        }
      }
    }
    #expect(refusals.count > 8, "\(refusals)")
  }

  @Test func `damaged headers are read the same way however they are cut`() {
    var generator = SeededGenerator.announced()
    var refusals: [ProxyHeader.Refusal: Int] = [:]
    var taken = 0
    for _ in 0..<1_500 {
      var stream =
        Bool.random(using: &generator)
        ? GeneratedHeader.line(using: &generator).bytes : GeneratedHeader.block(using: &generator).bytes
      for _ in 0..<Int.random(in: 0...3, using: &generator) {
        // Near the beginning, where most decisions are.
        let at = Int.random(in: 0..<min(stream.count, Bool.random(using: &generator) ? 17 : 600), using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: stream[at] ^= 1 << UInt8.random(in: 0...7, using: &generator)
        case 1: stream.insert(UInt8.random(in: 0...255, using: &generator), at: at)
        default: stream.remove(at: at)
        }
      }
      switch outcome(of: stream) {
      case .refused(let refusal): refusals[refusal, default: 0] += 1
      case .complete: taken += 1
      case .incomplete: break
      }
    }
    #expect(taken > 300 && refusals.count > 10, "\(taken) taken, \(refusals)")
  }

  @Test func `every refusal has a name and a reason of its own`() {
    let all = ProxyHeader.Refusal.allCases
    #expect(Set(all.map(\.reason)).count == all.count)
    for refusal in all {
      #expect(refusal.rawValue.allSatisfy { $0.isLowercase || $0 == "_" }, "\(refusal)")
      #expect(!refusal.reason.isEmpty && !refusal.reason.contains("\n"))
    }
  }
}
