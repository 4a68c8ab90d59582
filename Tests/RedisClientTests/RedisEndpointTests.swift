import RedisClient
import Testing

@Suite struct RedisEndpointTests {
  @Test(arguments: [
    ("redis://localhost", RedisEndpoint(address: .tcp(host: "localhost", port: 6379))),
    ("redis://localhost/", RedisEndpoint(address: .tcp(host: "localhost", port: 6379))),
    ("redis://redis-1.example.org:7000", RedisEndpoint(address: .tcp(host: "redis-1.example.org", port: 7000))),
    ("redis://10.0.0.1:1/12", RedisEndpoint(address: .tcp(host: "10.0.0.1", port: 1), database: 12)),
    ("redis://[::1]", RedisEndpoint(address: .tcp(host: "::1", port: 6379))),
    ("redis://[fe80::1]:65535/0", RedisEndpoint(address: .tcp(host: "fe80::1", port: 65535))),
    ("redis://:pw@h", RedisEndpoint(address: .tcp(host: "h", port: 6379), password: Secret("pw"))),
    ("redis://al:pw@h", RedisEndpoint(address: .tcp(host: "h", port: 6379), user: "al", password: Secret("pw"))),
    ("redis://h?credentials=/run/s", RedisEndpoint(address: .tcp(host: "h", port: 6379), credentialsFile: "/run/s")),
    (
      "rediss://h?certfile=/c&keyfile=/k&servername=redis.example",
      RedisEndpoint(
        address: .tcp(host: "h", port: 6379), usesTLS: true,
        clientCertificate: ClientCertificate(chain: "/c", privateKey: "/k"), serverName: "redis.example")
    ),
    (
      "redis+sentinel://h/gate?credentials=/a&sentinel-credentials=/b",
      RedisEndpoint(
        address: .sentinels(
          SentinelGroup(hosts: [RedisHost("h", port: 26379)], primary: "gate", credentialsFile: "/b")),
        credentialsFile: "/a")
    ),
    (
      "redis://a%3Al:p%40%2F%3f%23%25ß:x@h",
      RedisEndpoint(address: .tcp(host: "h", port: 6379), user: "a:l", password: Secret("p@/?#%ß:x"))
    ),
    ("redis://:p@ss@h", RedisEndpoint(address: .tcp(host: "h", port: 6379), password: Secret("p@ss"))),
    ("rediss://h", RedisEndpoint(address: .tcp(host: "h", port: 6379), usesTLS: true)),
    (
      "rediss://al:pw@h:6380/3?cafile=/etc/my%20ca.pem",
      RedisEndpoint(
        address: .tcp(host: "h", port: 6380), usesTLS: true, certificateAuthority: "/etc/my ca.pem", user: "al",
        password: Secret("pw"), database: 3)
    ),
    // An @ in a path is a character like any other: this names a file, not a host.
    (
      "rediss://h?cafile=/x:y@z",
      RedisEndpoint(address: .tcp(host: "h", port: 6379), usesTLS: true, certificateAuthority: "/x:y@z")
    ),
    ("unix:///run/redis.sock", RedisEndpoint(address: .unix(path: "/run/redis.sock"))),
    ("unix:///run/a@b:c.sock?db=15", RedisEndpoint(address: .unix(path: "/run/a@b:c.sock"), database: 15)),
    (
      "unix://al:pw@/run/what%3f.sock?db=1",
      RedisEndpoint(address: .unix(path: "/run/what?.sock"), user: "al", password: Secret("pw"), database: 1)
    ),
    (
      "redis+sentinel://h1,h2:7/gate",
      RedisEndpoint(
        address: .sentinels(
          SentinelGroup(hosts: [RedisHost("h1", port: 26379), RedisHost("h2", port: 7)], primary: "gate")))
    ),
    (
      "rediss+sentinel://al:p%2Cw@[::1]:1/ga%2fte/3?cafile=/ca&sentinel-password=s%26w&sentinel-user=sen",
      RedisEndpoint(
        address: .sentinels(
          SentinelGroup(
            hosts: [RedisHost("::1", port: 1)], primary: "ga/te", user: "sen", password: Secret("s&w"))),
        usesTLS: true, certificateAuthority: "/ca", user: "al", password: Secret("p,w"), database: 3)
    ),
    // A comma in a password is no comma between hosts.
    (
      "redis+sentinel://:p,w@h/gate/?sentinel-password=s",
      RedisEndpoint(
        address: .sentinels(
          SentinelGroup(hosts: [RedisHost("h", port: 26379)], primary: "gate", password: Secret("s"))),
        password: Secret("p,w"))
    ),
    (
      "redis+cluster://al:pw@h1:1,h2/",
      RedisEndpoint(
        address: .cluster(seeds: [RedisHost("h1", port: 1), RedisHost("h2", port: 6379)]), user: "al",
        password: Secret("pw"))
    ),
    (
      "rediss+cluster://h?cafile=/ca",
      RedisEndpoint(
        address: .cluster(seeds: [RedisHost("h", port: 6379)]), usesTLS: true, certificateAuthority: "/ca")
    ),
  ])
  func `good addresses`(url: String, endpoint: RedisEndpoint) throws {
    #expect(try RedisEndpoint(url) == endpoint)
  }

  @Test(arguments: [
    // Each holds "hunter2" where it could be a password.
    "", "hunter2", "redis:hunter2", "http://:hunter2@h", "hunter2://h",
    "redis://:@h", "redis://al:@h", "redis://:hunter2@h?credentials=/a", "redis://h?credentials=a",
    "rediss://h?certfile=/a",
    "rediss://h?keyfile=/a", "rediss://h?servername=", "redis://h?servername=a",
    "rediss://h?servername=127.0.0.1", "rediss://h?servername=%3A%3A1", "rediss://h?servername=a%20b",
    "redis://h?certfile=/a&keyfile=/b",
    "redis+sentinel://h/gate?sentinel-password=hunter2&sentinel-credentials=/a",
    "redis://", "redis://:hunter2@", "redis:///hunter2", "redis://hunter2@h", "redis://us er:hunter2@ h",
    "redis://u:hunter2", "redis://h:hunter2/", "redis://h:", "redis://h:0", "redis://h:65536", "redis://h:+80",
    "redis://h:99999999999999999999", "redis://h:-1", "redis://h:6379:hunter2",
    "redis://u:pa/hunter2@h", "redis://u:12/hunter2@h", "redis://u:pa?hunter2@h", "redis://u:12/3?hunter2@h",
    "redis://u:12/3?x=hunter2@h", "redis://u:pa#hunter2@h",
    "redis://h/hunter2", "redis://h/-1", "redis://h/+1", "redis://h/16384", "redis://h/1/2", "redis://h/ 1",
    "redis://[::1", "redis://[]", "redis://[hunter2]", "redis://[::1]hunter2", "redis://[1.2.3.4]", "redis://::1",
    "redis://u:%hunter2@h", "redis://u:%+1hunter2@h", "redis://u:hunter2%2@h", "redis://u:hunter2%ff@h",
    "redis://u:hunter2%00@h", "redis://h o", "redis://h%20o", "redis://bücher.example",
    "redis://h?cafile=/ca", "redis://h?hunter2", "rediss://h?cafile=ca", "rediss://h?cafile=", "rediss://h?CAFILE=/ca",
    "rediss://h?cafile=/a&cafile=/b", "rediss://h?db=1",
    "unix://", "unix:///", "unix://run/redis.sock", "unix:///a?db=", "unix:///a?db=hunter2", "unix:///a?hunter2",
    "unix:///a?db=1&db=2", "unix:///a?cafile=/ca", "unix:///a%00", "unix://hunter2@/a", "unix://u:hunter2/a",
    "unix:///" + String(repeating: "x", count: 107),
    "redis://h1,h2", "redis://h1,hunter2", "redis+sentinel://", "redis+sentinel://h", "redis+sentinel://h/",
    "redis+sentinel:///hunter2", "redis+sentinel://,h/gate", "redis+sentinel://h,/gate", "redis+sentinel://h,h/gate",
    "redis+sentinel://h/gate/hunter2", "redis+sentinel://h/gate/1/2", "redis+sentinel://h/gate?hunter2",
    "redis+sentinel://h/gate?sentinel-user=hunter2", "redis+sentinel://h/gate?sentinel-password=%hunter2",
    "redis+sentinel://h/gate?sentinel-password=a&sentinel-password=hunter2", "redis+sentinel://h/gate?cafile=/ca",
    "redis+sentinel://h/gate?sentinel-password=a&x=hunter2", "redis+sentinel://hunter2@h/gate",
    "rediss+sentinel://h/gate?cafile=ca", "redis+cluster://", "redis+cluster://h/1", "redis+cluster://h,h:6379",
    "redis+cluster://h?cafile=/ca", "redis+cluster://h?sentinel-user=hunter2", "redis+hunter2://h",
    "unix+sentinel://h/gate",
  ])
  func `what isn't an address is refused, and nothing of a password is shown`(url: String) {
    let error = #expect(throws: InvalidEndpoint.self) { try RedisEndpoint(url) }
    #expect(error.map { "\($0)".contains("expected") && !"\($0)".contains("hunter2") } == true)
  }

  @Test func `a path of 107 bytes is the longest that a socket can have`() throws {
    #expect(throws: Never.self) { try RedisEndpoint("unix:///" + String(repeating: "x", count: 106)) }
  }

  @Test(arguments: [
    ("redis://h:6379", "redis://h:6379"),
    ("redis://al:hunter2@h/2", "redis://al:***@h:6379/2"),
    ("rediss://:hunter2@[::1]:7", "rediss://:***@[::1]:7"),
    ("unix://al:hunter2@/run/r.sock?db=3", "unix://al:***@/run/r.sock?db=3"),
    ("unix:///run/r.sock", "unix:///run/r.sock"),
    (
      "rediss+sentinel://al:hunter2@h,[::1]:7/gate/2?sentinel-password=hunter2",
      "rediss+sentinel://al:***@h:26379,[::1]:7/gate/2"
    ),
    ("redis+cluster://:hunter2@h1,h2:7", "redis+cluster://:***@h1:6379,h2:7"),
  ])
  func `a description has everything but the password`(url: String, description: String) throws {
    #expect(try RedisEndpoint(url).description == description)
  }

  @Test func `a secret isn't printed in any way`() throws {
    let endpoint = try RedisEndpoint("redis+sentinel://al:hunter2@h/gate?sentinel-password=hunter2")
    let secret = try #require(endpoint.password)
    var dumped = ""
    dump(endpoint, to: &dumped)
    dump(secret, to: &dumped)
    for text in ["\(secret)", String(reflecting: secret), "\(endpoint)", String(reflecting: endpoint), dumped] {
      #expect(!text.contains("hunter2"))
    }
    #expect(secret.revealed == "hunter2")
  }
}
