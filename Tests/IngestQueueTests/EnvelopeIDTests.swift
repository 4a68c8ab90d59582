import Foundation
import IngestQueue
import RedisFixture
import Testing

struct EnvelopeIDTests {
  @Test func `a fresh id is a UUID of version 7 that begins with its time`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<1_000 {
      let time = Int64.random(in: 0..<(1 << 48), using: &generator)
      let id = EnvelopeID(time: time, using: &generator)
      let text = id.description
      let uuid = try #require(UUID(uuidString: text))
      #expect(uuid.uuidString.lowercased() == text)
      #expect(text.dropFirst(14).first == "7")
      #expect("89ab".contains(try #require(text.dropFirst(19).first)))
      #expect(Int64(text.prefix(13).filter { $0 != "-" }, radix: 16) == time)
    }
  }

  @Test func `fresh ids of one millisecond differ and later ones sort later`() {
    var generator = SeededGenerator.announced()
    let ids = (0..<1_000).map { _ in EnvelopeID(time: 1_790_000_000_000, using: &generator) }
    #expect(Set(ids).count == ids.count)
    let later = EnvelopeID(time: 1_790_000_000_001, using: &generator)
    #expect(ids.allSatisfy { $0.description < later.description })
  }

  @Test func `an id derived from an Idempotency-Key is the one that the documentation's recipe gives`() {
    // Python: SHA-256 over each part behind its length as 8 bytes big-endian, first 16 bytes, version 8.
    let id = EnvelopeID(keyID: 0..<32, idempotencyKey: "order-4711".utf8)
    #expect(id.description == "d237af3e-d6af-8d1c-aaf1-d2835b252099")
  }

  @Test func `derived ids differ with either part and can't be confused by moving the border between the parts`() {
    let ids = [
      EnvelopeID(keyID: "ab".utf8, idempotencyKey: "c".utf8), EnvelopeID(keyID: "a".utf8, idempotencyKey: "bc".utf8),
      EnvelopeID(keyID: "abc".utf8, idempotencyKey: "".utf8), EnvelopeID(keyID: "".utf8, idempotencyKey: "abc".utf8),
    ]
    #expect(Set(ids).count == ids.count)
    #expect(ids[0] == EnvelopeID(keyID: "ab".utf8, idempotencyKey: "c".utf8))
  }

  @Test func `the text of an id reads back as the same id, and other texts don't read`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<1_000 {
      let id = EnvelopeID(time: Int64.random(in: 0..<(1 << 48), using: &generator), using: &generator)
      #expect(EnvelopeID(id.description.utf8) == id)
      #expect(EnvelopeID(id.description.uppercased().utf8) == id)
    }
    let text = EnvelopeID(time: 0, using: &generator).description
    for wrong in ["", String(text.dropLast()), text + "0", "g" + text.dropFirst(), text.replacing("-", with: "0")] {
      #expect(EnvelopeID(wrong.utf8) == nil, "\(wrong)")
    }
  }
}
