// Valid streams, damaged at random: the reader may fail or read other replies, but must never crash, exceed its limits,
// or depend on where the stream is cut. `Scripts/fuzz reader` runs longer, guided by coverage.

import Hiredis
import RedisFixture
import Testing

@Suite struct ReplyMutationTests {
  private let limits = ReplyLimits(elements: 64, bytes: 512)

  @Test func `damaged streams are read the same way however they are cut`() {
    var generator = SeededGenerator.announced()
    var whole = 0
    var failed = 0
    for _ in 0..<20_000 {
      var stream: [UInt8] = []
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        stream += RedisReply.random(levels: 4, using: &generator).wire
      }
      for _ in 0..<Int.random(in: 0...3, using: &generator) { damage(&stream, using: &generator) }

      let atOnce = Reading(stream, limits: limits)
      let cut = Reading(stream.cut(using: &generator), limits: limits)
      guard atOnce == cut else {
        Issue.record("seed \(generator.seed): \(stream) read as \(atOnce) at once, as \(cut) in pieces")
        return
      }
      for reply in atOnce.replies {
        let size = size(reply)
        guard size.elements <= limits.elements, size.bytes <= limits.bytes else {
          Issue.record("seed \(generator.seed): \(stream) passed the limits")
          return
        }
      }
      if atOnce.failed { failed += 1 } else { whole += 1 }
    }
    // Where nothing fails, or everything does, nothing is tested.
    #expect(whole > 2000 && failed > 2000, "\(whole) streams were read to their end, \(failed) failed")
  }

  private func damage(_ stream: inout [UInt8], using generator: inout SeededGenerator) {
    guard !stream.isEmpty else { return }
    let at = Int.random(in: stream.indices, using: &generator)
    switch Int.random(in: 0..<6, using: &generator) {
    case 0: stream[at] = .random(in: 0...255, using: &generator)
    case 1: stream[at] = "\r\n$*:+-019".utf8.randomElement(using: &generator)!
    case 2: stream.remove(at: at)
    case 3: stream.insert("\r\n$*:+-019".utf8.randomElement(using: &generator)!, at: at)
    case 4: stream.removeSubrange(at...)
    default: stream.insert(contentsOf: stream[at...].prefix(20), at: at)
    }
  }

  private func size(_ reply: RedisReply) -> (elements: Int, bytes: Int) {
    switch reply {
    case .array(let items):
      items.reduce((items.count, 0)) { sum, item in
        let inner = size(item)
        return (sum.0 + inner.elements, sum.1 + inner.bytes)
      }
    case .strings(let strings): (strings.count, strings.bytes.count)
    case .bulk(let bytes): (0, bytes.count)
    // Where a text was repaired it is longer than what came.
    default: (0, 0)
    }
  }
}
