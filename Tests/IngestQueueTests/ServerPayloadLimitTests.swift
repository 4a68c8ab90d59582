// When a payload counts as too large for the Redis that it would be pushed to.

import NIOCore
import Testing

@testable import IngestQueue

struct ServerPayloadLimitTests {
  private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
  private let size = 2 << 20

  @Test func `two connections that close soon after each other say that a payload is too large, for a while`() {
    var limit = ServerPayloadLimit()
    limit.closed(with: size, now: start)
    #expect(limit.exceeded(by: size, now: start) == nil)
    limit.closed(with: size + 1, now: start + .minutes(4))
    #expect(limit.exceeded(by: size, now: start + .minutes(5)) == size - 1)
    #expect(limit.exceeded(by: size - 1, now: start + .minutes(5)) == nil)
    #expect(limit.exceeded(by: size, now: start + .minutes(10)) == nil)
  }

  @Test func `connections that close long after each other say nothing, nor does one after which a payload was taken`()
  {
    var limit = ServerPayloadLimit()
    limit.closed(with: size, now: start)
    limit.closed(with: size, now: start + .minutes(6))
    #expect(limit.exceeded(by: size, now: start + .minutes(6)) == nil)
    limit.took(size)
    limit.closed(with: size, now: start + .minutes(7))
    #expect(limit.exceeded(by: size, now: start + .minutes(7)) == nil)
  }

  @Test func `where the limit is known it alone counts, however often a connection closes`() {
    var limit = ServerPayloadLimit()
    limit.told = 512 << 20
    for minute in 0..<4 { limit.closed(with: size, now: start + .minutes(Int64(minute))) }
    #expect(limit.exceeded(by: size, now: start + .minutes(4)) == nil)
    #expect(limit.exceeded(by: 513 << 20, now: start) == 512 << 20)
  }

  @Test func `what Redis has refused is too large at once, and one that is taken shows otherwise`() {
    var limit = ServerPayloadLimit()
    limit.refused(size, now: start)
    #expect(limit.exceeded(by: size, now: start) == size - 1)
    limit.took(size)
    #expect(limit.exceeded(by: size, now: start) == nil)
  }
}
