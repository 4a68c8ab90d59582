import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

@Suite struct AddressMapTests {
  @Test func `a server is reached where the map says, or as it is announced`() throws {
    let map = try AddressMap("10.0.0.5:6379=203.0.113.7:7001,10.0.0.5=nat.example,[fd00::5]:1=[2001:db8::1]:2")
    #expect(map[RedisHost("10.0.0.5", port: 6379)] == RedisHost("203.0.113.7", port: 7001))
    #expect(map[RedisHost("10.0.0.5", port: 6380)] == RedisHost("nat.example", port: 6380))
    #expect(map[RedisHost("fd00::5", port: 1)] == RedisHost("2001:db8::1", port: 2))
    #expect(map[RedisHost("fd00::5", port: 2)] == RedisHost("fd00::5", port: 2))
    #expect(AddressMap.none[RedisHost("h", port: 1)] == RedisHost("h", port: 1))
  }

  @Test(arguments: [
    ("", "announced=reachable"), ("a", "announced=reachable"), ("a=b=c", "announced=reachable"),
    ("a=b,", "announced=reachable"), ("a:1=b", "a port on both sides"), ("a=b:1", "a port on both sides"),
    ("a:1=b:0", "port from 1 to 65535"), ("a:x=b:1", "port from 1 to 65535"), ("=b", "a host of letters"),
    ("a=b,a=c", "once, but a is given twice"), ("a:1=b:1,a:1=c:1", "once, but a:1 is given twice"),
    ("[::1=b", "] after"),
  ])
  func `a map that isn't understood says what was expected`(text: String, expectation: String) throws {
    let error = try #require(throws: InvalidAddressMap.self) { try AddressMap(text) }
    #expect("\(error)".contains(expectation), "\(error)")
  }

  /// The sentinel knows the primary by an address that leads to another server: one that would be somebody else's,
  /// behind NAT.
  @Test func `the primary that a sentinel names is reached where the map says`() async throws {
    try await withRedis { announced in
      try await withRedis { reachable in
        let sentinel = try await Sentinel.start(watching: announced, as: "gate", quorum: 1, downAfter: 60_000)
        let group = SentinelGroup(hosts: [RedisHost("127.0.0.1", port: sentinel.port)], primary: "gate")
        var endpoint = RedisEndpoint(address: .sentinels(group))
        endpoint.addressMap = try AddressMap("127.0.0.1:\(announced.port)=127.0.0.1:\(reachable.port)")
        let connection = try await RedisConnection.connected(
          to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
        #expect(connection.server.address == .tcp(host: "127.0.0.1", port: reachable.port))
        connection.close()
        try await announced.kill9()
        endpoint.addressMap = .none
        let error = try await #require(throws: RedisError.self) {
          try await RedisConnection.connected(to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
        }
        #expect(
          "\(error)".contains(
            "can't reach 127.0.0.1:\(announced.port), which the sentinel 127.0.0.1:\(sentinel.port) names as the primary"
          ),
          "\(error)")
        #expect("\(error)".contains("--redis-address-map 127.0.0.1:\(announced.port)=HOST:PORT"), "\(error)")
        try await sentinel.kill9()
      }
    }
  }
}
