// Random streams, damaged at random and cut at random positions: the result doesn't depend on the cuts, and equals that
// of NIO's decoder. `Scripts/fuzz request` runs longer, guided by coverage.

import FramingOracle
import HTTPFraming
import RedisFixture
import Testing

@Suite struct RandomStreamTests {
  // Small, so that they are met.
  private let limits = RequestLimits(
    requestLineBytes: 200, headerBytes: 600, fieldCount: 16, bodyBytes: 400, drainBytes: 60, lingerBytes: 500,
    chunkExtensionBytes: 40, trailerBytes: 60, requests: 6)

  @Test func `streams are read as NIO reads them, however they are cut`() {
    var generator = SeededGenerator.announced()
    var taken = 0
    var refusals: [ProtocolError: Int] = [:]
    var known: [KnownDifference: Int] = [:]
    for _ in 0..<6_000 {
      var stream: [UInt8] = []
      for id in 0..<Int.random(in: 1...4, using: &generator) {
        let request = GeneratedRequest(id: "\(id)", using: &generator)
        stream +=
          Int.random(in: 0..<6, using: &generator) == 0 ? request.broken(using: &generator).bytes : request.bytes
      }
      if Bool.random(using: &generator) {
        for _ in 0..<Int.random(in: 1...3, using: &generator) { stream.damage(using: &generator) }
      }
      let sizes = (0..<8).map { _ in Int.random(in: 1...(Bool.random(using: &generator) ? 4 : 300), using: &generator) }
      let early: UInt8 = Bool.random(using: &generator) ? .random(in: 0...255, using: &generator) : 0
      switch StreamCheck.outcome(of: stream, inPiecesOf: sizes, early: early, limits: limits) {
      case .taken: taken += 1
      case .refused(let refusal): refusals[refusal, default: 0] += 1
      case .known(let difference): known[difference, default: 0] += 1
      case .fault(let fault):
        let text = String(decoding: stream, as: UTF8.self).debugDescription
        Issue.record("seed \(generator.seed): \(fault), in \(text), sizes \(sizes)")
        return
      }
    }
    // Where nothing is refused, or everything is, nothing is tested.
    #expect(taken > 1000, "\(taken) streams were taken")
    #expect(refusals.values.reduce(0, +) > 1000 && refusals.count > 25, "\(refusals.count) kinds of refusals")
    #expect(known.values.reduce(0, +) < 600, "\(known)")
  }

  @Test func `a request is read as it was made up`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<3_000 {
      let made = GeneratedRequest(id: "1", using: &generator)
      let read = Transcript(of: made.bytes, inPiecesOf: [7, 1, 300]).requests.first
      guard let read, read.isWhole, read.methodText == made.method, read.targetText == made.target,
        read.body == made.body,
        read.fields.count == made.fields.count, read.version == made.version
      else {
        Issue.record("seed \(generator.seed): \(String(decoding: made.bytes, as: UTF8.self).debugDescription)")
        return
      }
    }
  }

  @Test func `each way to break a request is refused by its name`() {
    var generator = SeededGenerator.announced()
    var seen: Set<ProtocolError> = []
    for _ in 0..<3_000 {
      let (bytes, refusals) = GeneratedRequest(id: "1", using: &generator).broken(using: &generator)
      let transcript = Transcript(of: bytes)
      guard let refusal = transcript.refusal, refusals.contains(refusal) else {
        Issue.record(
          "seed \(generator.seed): \(transcript.events) for \(String(decoding: bytes, as: UTF8.self).debugDescription)")
        return
      }
      seen.insert(refusal)
    }
    #expect(seen.count > 20)
  }
}
