// A cached refusal is reused only if every part of its text is the same.

import KeyReplica
import Testing

@testable import IngestNode

@Suite struct LastRefusalCacheTests {
  private func proof(epoch: String = "e1", version: UInt64 = 7, at nanoseconds: Int64 = 5) -> Proof {
    Proof(epoch: epoch, version: version, asOf: Instant(nanoseconds: nanoseconds))
  }

  @Test func `only the same refusal to the same kind of client isn't laid out anew`() {
    let memo = LastRefusalCache()
    var laidOut = 0
    func refuse(_ why: PushRejection, _ dialect: Dialect = Dialects.generic, _ media: MediaType = .json) -> String {
      memo.refusal(why, in: dialect, media) {
        laidOut += 1
        return LaidOutRefusal(label: "\(laidOut)", response: Dialects.preflight)
      }.label
    }
    #expect(refuse(.refused(.unknownKey, proof())) == "1")
    #expect(refuse(.refused(.unknownKey, proof())) == "1")
    let others: [(PushRejection, Dialect, MediaType)] = [
      (.refused(.revokedKey, proof()), Dialects.generic, .json),
      (.refused(.unknownKey, proof(epoch: "e2")), Dialects.generic, .json),
      (.refused(.unknownKey, proof(version: 8)), Dialects.generic, .json),
      (.refused(.unknownKey, proof(at: 6)), Dialects.generic, .json),
      (.refused(.unknownKey, proof()), Dialects.sentry, .json),
      (.refused(.unknownKey, proof()), Dialects.generic, .protobuf),
    ]
    for (number, (why, dialect, media)) in others.enumerated() {
      #expect(refuse(why, dialect, media) == "\(number + 2)")
      #expect(refuse(why, dialect, media) == "\(number + 2)")
    }
  }

  @Test func `what anybody can ask for without a key is laid out once, and each kind by itself`() {
    let memo = LastRefusalCache()
    var laidOut: [String] = []
    func refuse(_ why: PushRejection, _ dialect: Dialect = Dialects.generic) -> String {
      memo.refusal(why, in: dialect, .other) {
        laidOut.append("\(dialect.name) \(why)")
        return LaidOutRefusal(label: laidOut[laidOut.count - 1], response: Dialects.preflight)
      }.label
    }
    for _ in 0..<3 {
      #expect(refuse(.notFound) == "generic notFound")
      #expect(refuse(.missingKey) == "generic missingKey")
      #expect(refuse(.refused(.unknownKey, proof())).hasPrefix("generic refused"))
    }
    #expect(laidOut.count == 3)
    #expect(refuse(.missingKey, Dialects.sentry) == "sentry missingKey")
  }

  @Test func `what may say something else each time is laid out each time`() {
    let memo = LastRefusalCache()
    var laidOut = 0
    for why in [PushRejection.unavailable(.queueAway), .methodNotAllowed(allow: "POST"), .tooFast(nil)] {
      for _ in 0..<3 {
        _ = memo.refusal(why, in: Dialects.generic, .json) {
          laidOut += 1
          return LaidOutRefusal(label: "", response: Dialects.preflight)
        }
      }
    }
    #expect(laidOut == 9)
  }
}
