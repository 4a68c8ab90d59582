// What an event loop believes of a shard between and after readings.

import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

@Suite struct ShardLaneTests {
  @Test func `what was pushed and not told to Redis yet counts on after a reading that can't have it`() async throws {
    let loop = singletonLoop
    let endpoint = RedisEndpoint(address: .tcp(host: "127.0.0.1", port: 1))
    let client = RedisClient(endpoint: endpoint, on: loop, logger: .silent)
    let isReserved: [Bool] = try await loop.submit {
      let shard = QueueProducer.Shard(client: client, layout: QueueLayout(shard: 0))
      let limits = QueueLimits(bytes: 10_000)
      let lane = ShardLane(shard, requirement: .none, limits: limits, deadline: .seconds(1))
      let reading = QueueReading(lengths: [Int64](repeating: 0, count: QueueLayout.lists))
      var admission = Admission(limits: limits)
      admission.read(reading, at: .now())
      let mark = HighMark()
      func read() {
        lane.learn(
          ShardUpdate(
            level: .read(entries: reading.entriesByList, bytes: reading.bytesByList, admission),
            counted: mark.counts, payloadLimit: nil, durabilityLack: nil, mark: mark))
      }
      let account = AccountShuffleShard.hash(of: "flood")
      let hand = AccountShuffleShard(hash: account)
      func isReserved() -> Bool { lane.isReserved(against: account, after: 0, ofOldPayloads: false) }
      read()
      var seen = [isReserved()]
      for list in [hand.first, hand.second] { lane.heard(1, of: list, after: 4_500) }
      seen.append(isReserved())
      read()
      seen.append(isReserved())
      return seen
    }.get()
    #expect(isReserved == [false, true, true])
    try await client.shutDown().get()
  }
}
