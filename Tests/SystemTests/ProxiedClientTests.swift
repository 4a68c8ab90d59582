// The client address of a connection and of a request behind load balancers that pass it on: by the PROXY protocol, as
// HAProxy sends it, and by X-Forwarded-For, as nginx and HAProxy write it.

import NIOPosix
import RedisFixture
import Testing

struct ProxiedClientTests {
  private static func push(_ key: String, header: String = "") -> String {
    "POST /v1/events HTTP/1.1\r\nHost: sluice\r\nX-API-Key: \(key)\r\n\(header)Content-Length: 2\r\n\r\n{}"
  }

  /// The status of a push on a new connection from this address, and the connection.
  private func pushed(
    _ key: String = Deployment.key(1), header: String = "", to port: Int, from source: String
  ) async throws -> (status: Int, reason: String?, connection: WireConnection) {
    let connection = try await WireConnection.connected(to: "127.0.0.1:\(port)", from: source)
    connection.send(Self.push(key, header: header))
    let answer = try await connection.answer()
    return (answer.status, answer.member("reason"), connection)
  }

  /// The client in the log's line on the refusal of this key.
  private func client(refused number: Int, _ node: Node) async throws -> String {
    var clients: [String] = []
    try await eventually("refusal \(number) is in the log") {
      clients = node.process.standardError.lines.filter { $0.contains(" refused") || $0.contains(": refused") }
        .compactMap { $0.firstMatch(of: /client=([0-9a-f.:]+)/)?.1 }.map(String.init)
      return clients.count >= number
    }
    return clients[number - 1]
  }

  @Test func `behind HAProxy's PROXY protocol connections are limited by the client's address`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode(
      "node-1", ["--proxy-protocol", "--trust-proxies", "127.0.0.1", "--max-connections-per-address", "2"])
    try await node.becomesReady()
    let proxy = try await HAProxy.start { port in
      let servers = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
      return """
        defaults
          mode tcp
          timeout connect 2s
          timeout client 20s
          timeout server 20s
        \(servers.enumerated().map { index, way in
          """
          listen way-\(index)
            bind 127.0.0.1:\(port + index)
            unique-id-format %ci:%cp
            server node \(node.push) source 127.0.0.1 \(way)
          """
        }.joined(separator: "\n"))
        """
    }
    var kept: [WireConnection] = []
    for way in 0..<3 {
      // As many as one address may have, whichever way they come; one more, for which one ends; and one of another's.
      let (client, other) = ("127.0.0.\(10 + way)", "127.0.0.\(20 + way)")
      let (port, another) = (proxy.port + way, proxy.port + (way + 1) % 3)
      var connections: [WireConnection] = []
      for port in [port, another, port] {
        let (status, _, connection) = try await pushed(to: port, from: client)
        #expect(status == 202)
        connections.append(connection)
      }
      #expect(try await connections.removeFirst().ending().ending == .closed, "it has been idle longest")
      kept += connections
      #expect(try await pushed("sk_nobody", to: port, from: other).status == 401)
      #expect(try await self.client(refused: way + 1, node) == other)
    }
    for connection in kept {
      connection.send(Self.push(Deployment.key(1)))
      #expect(try await connection.answer().status == 202)
      connection.close()
    }
  }

  @Test func `where the PROXY protocol is spoken a connection without a header is closed`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--proxy-protocol", "--trust-proxies", "127.0.0.1"])
    try await node.becomesReady()
    // From the proxy's own address, without a header; and from another's, with one.
    for (source, header) in [("127.0.0.1", ""), ("127.0.0.9", "PROXY TCP4 127.0.0.7 127.0.0.1 1234 80\r\n")] {
      do {
        let connection = try await WireConnection.connected(to: node.push, from: source)
        connection.send(header + Self.push(Deployment.key(1)))
        let answer = try await connection.everything()
        #expect(answer == "", "from \(source)")
      } catch {
        // Before the client knew that it was connected, or when it had sent something.
        #expect("\(error)".lowercased().contains("reset"), "from \(source)")
      }
    }
    try await node.process.waitForLine(containing: "its address isn't in --trust-proxies")
    #expect(try await node.get("/metrics").body.contains(/sluice_proxy_headers_refused_total\S* 2\b/))
    #expect(try await node.get("/status").body.contains(/"202" ?: ?[1-9]/) == false)
  }

  @Test func `a refusal names the client that the trusted proxy saw`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let trusting = try await deployment.startNode("node-1", ["--trust-proxies", "127.0.0.1"])
    let wary = try await deployment.startNode("node-2")
    for node in [trusting, wary] { try await node.becomesReady() }
    let nginx = try await Nginx.start { port in
      [trusting, wary].enumerated().map { index, node in
        """
        server {
          listen 127.0.0.1:\(port + index);
          access_log off;
          location / {
            proxy_pass http://\(node.push);
            proxy_bind 127.0.0.1;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          }
        }
        """
      }.joined(separator: "\n")
    }
    let haproxy = try await HAProxy.start {
      try RecommendedHAProxy.configuration(port: $0, nodes: [trusting.addresses])
    }
    // Addresses that the client itself wrote stand before the proxy's, and aren't trusted.
    let lie = "X-Forwarded-For: 203.0.113.9\r\n"
    for (number, port) in [(1, nginx.port), (2, haproxy.port)] {
      let answer = try await pushed("sk_nobody", header: lie, to: port, from: "127.0.0.7")
      #expect(answer.status == 401)
      #expect(try await client(refused: number, trusting) == "127.0.0.7")
    }
    // A client that connects without the proxy may write any address.
    let port = try #require(Int(Node.port(trusting.push)))
    #expect(try await pushed("sk_nobody", header: lie, to: port, from: "127.0.0.8").status == 401)
    #expect(try await client(refused: 3, trusting) == "127.0.0.8")
    // A node that doesn't trust the proxy takes the proxy for the client.
    #expect(try await pushed("sk_nobody", header: lie, to: nginx.port + 1, from: "127.0.0.7").status == 401)
    #expect(try await client(refused: 1, wary) == "127.0.0.1")
  }
}
