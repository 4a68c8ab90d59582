// An event loop's estimate of a shard between readings and after them.

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

  @Test func `all loops of a node count what each of them pushed against Redis's memory`() async throws {
    let loop = singletonLoop
    let endpoint = RedisEndpoint(address: .tcp(host: "127.0.0.1", port: 1))
    let clients = (0..<2).map { _ in RedisClient(endpoint: endpoint, on: loop, logger: .silent) }
    let isReserved: [Bool] = try await loop.submit {
      let limits = QueueLimits()
      let lanes = clients.map {
        ShardLane(
          QueueProducer.Shard(client: $0, layout: QueueLayout(shard: 0)), requirement: .none, limits: limits,
          deadline: .seconds(1))
      }
      // 70,000 bytes up to the mark, of which 14,000 are reserved.
      let reading = QueueReading(
        lengths: [Int64](repeating: 0, count: QueueLayout.lists), memory: 10_000, memoryLimit: 100_000)
      var admission = Admission(limits: limits)
      admission.read(reading, at: .now())
      let mark = HighMark()
      mark.push(memory: 1_000_000)
      for lane in lanes {
        lane.learn(
          ShardUpdate(
            level: .read(entries: reading.entriesByList, bytes: reading.bytesByList, admission),
            counted: mark.counts, payloadLimit: nil, durabilityLack: nil, mark: mark))
      }
      let account = AccountShuffleShard.hash(of: "flood")
      let hand = AccountShuffleShard(hash: account)
      func isReserved() -> Bool { lanes[1].isReserved(against: account, after: 0, ofOldPayloads: false) }
      var seen = [isReserved()]
      for list in [hand.first, hand.second] { lanes[1].heard(1, of: list, after: 200) }
      // With what the allocator may add, these are 55,000 and 56,000.
      lanes[0].heard(1, of: hand.first, after: 43_600)
      seen.append(isReserved())
      lanes[0].heard(2, of: hand.first, after: 800)
      seen.append(isReserved())
      return seen
    }.get()
    #expect(isReserved == [false, false, true])
    for client in clients { try await client.shutDown().get() }
  }
}
