import ArgumentParser
import IngestQueue
import RedisClient
import CommandSupport
import Testing

/// Which Redis the options lead to.
struct RedisArgumentsTests {
  private static let nowhere = Settings(environment: [:])

  private func shards(queue: String?, each: String? = nil) throws -> [QueueShard] {
    var arguments = try QueueArguments.parse([])
    arguments.queue = queue
    arguments.queueShards = each
    return try arguments.shards(Self.nowhere, redis: RedisEndpoint("redis://keys"), namespace: .standard)
  }

  @Test func `keys may be where Sentinels say, and in a cluster, with a map for both and for the queue`() throws {
    var arguments = try RedisArguments.parse([])
    arguments.redis = "redis+sentinel://s1,s2/gate"
    #expect(try arguments.endpoint(Self.nowhere) == RedisEndpoint("redis+sentinel://s1,s2/gate"))
    arguments.redis = "redis+cluster://h1,h2"
    #expect(try arguments.endpoint(Self.nowhere) == RedisEndpoint("redis+cluster://h1,h2"))
    arguments.redisAddressMap = "10.0.0.1:1=h1:2"
    let map = try AddressMap("10.0.0.1:1=h1:2")
    let endpoint = try arguments.endpoint(Self.nowhere)
    #expect(endpoint.addressMap == map)
    var queue = try QueueArguments.parse([])
    queue.queue = "redis+cluster://c redis://r"
    let shards = try queue.shards(Self.nowhere, redis: endpoint, namespace: .standard)
    #expect(shards.map(\.endpoint.addressMap) == [map, map])
    arguments.redisAddressMap = "10.0.0.1"
    let error = #expect(throws: ValidationError.self) { try arguments.endpoint(Self.nowhere) }
    #expect(error?.message.contains("--redis-address-map on the command line: expected announced=reachable") == true)
  }

  @Test func `the queue is in the Redis of the keys, or wherever it is said to be, in the order that is given`() throws
  {
    #expect(try shards(queue: nil).map { "\($0.endpoint)" } == ["redis://keys:6379"])
    let spread = try shards(queue: "redis://q2 redis+sentinel://s/q redis+cluster://c1,c2", each: "2")
    #expect(spread.map(\.layout.shard) == [0, 1, 2, 3, 4, 5])
    #expect(
      spread.map { "\($0.endpoint)" } == [
        "redis://q2:6379", "redis://q2:6379", "redis+sentinel://s:26379/q", "redis+sentinel://s:26379/q",
        "redis+cluster://c1:6379,c2:6379", "redis+cluster://c1:6379,c2:6379",
      ])
    #expect(spread.map(\.endpoint.isCluster) == [false, false, false, false, true, true])
    #expect(Set(spread.map(\.layout.slot)).count == 6)
  }
}
