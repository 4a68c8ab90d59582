// Our parser reads the headers of HAProxy (Debian's package) as HAProxy means them, in every form that HAProxy has.

import ClientAddress
import RedisFixture
import Testing

@Suite struct HAProxyTests {
  /// The options for sending headers, in the order of the ports.
  private static let ways = [
    "send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c",
    "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
  ]
  private static let payload = Array("GET / HTTP/1.1\r\nHost: h\r\n\r\n".utf8)

  /// Runs the body with an HAProxy that listens in each way on IPv4 and IPv6, on a Unix socket `way-N`, and ten ports
  /// further for connections that begin with headers themselves. All go to the listener.
  private func withHAProxy(_ body: (HAProxy, Socket) throws -> Void) async throws {
    let listener = try Socket.listening()
    let next = try listener.port
    let proxy = try await HAProxy.start { port, folder in
      Self.ways.enumerated().map { index, way in
        """
        listen way-\(index)
          bind 127.0.0.1:\(port + index)
          bind [::1]:\(port + index)
          bind :::\(port + 20 + index) v4v6
          bind unix@\(folder)/way-\(index).sock
          unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt
          server next 127.0.0.1:\(next) \(way)
        listen relay-\(index)
          bind 127.0.0.1:\(port + 10 + index) accept-proxy
          server next 127.0.0.1:\(next) \(way)
        """
      }.joined(separator: "\n")
    }
    try withExtendedLifetime(proxy) { try body(proxy, listener) }
  }

  /// The header that comes, and what it is.
  private func header(at listener: Socket) throws -> (bytes: [UInt8], outcome: ProxyHeader.Outcome) {
    let connection = try listener.accepted()
    let stream = try connection.received { $0.suffix(Self.payload.count) == Self.payload[...] }
    let outcome = outcome(of: stream)
    if case .complete(let length, _) = outcome {
      #expect(Array(stream.dropFirst(length)) == Self.payload, "\(stream)")
    }
    return (stream.dropLast(Self.payload.count), outcome)
  }

  @Test(arguments: ways.indices)
  func `the source is the client's address`(way: Int) async throws {
    try await withHAProxy { proxy, listener in
      for (host, port, source) in [
        ("127.0.0.1", way, "127.0.0.7"), ("::1", way, "::1"), ("127.0.0.1", 20 + way, "127.0.0.9"),
        ("::1", 20 + way, "::1"),
      ] {
        let client = try Socket.connected(to: host, proxy.port + port, from: source)
        try client.send(Self.payload)
        let (bytes, outcome) = try header(at: listener)
        #expect(outcome == .complete(length: bytes.count, source: try IPAddress(source)), "\(bytes)")
        #expect(bytes.starts(with: way == 0 ? Array("PROXY TCP".utf8) : GeneratedHeader.signature))
      }
    }
  }

  @Test(arguments: ways.indices)
  func `a client without an address has none`(way: Int) async throws {
    try await withHAProxy { proxy, listener in
      let client = try Socket.connected(toPath: proxy.path("way-\(way)"))
      try client.send(Self.payload)
      let (bytes, outcome) = try header(at: listener)
      #expect(outcome == .complete(length: bytes.count, source: nil), "\(bytes)")
    }
  }

  /// HAProxy's reader and its writer in between: what one of them takes otherwise than we do comes out different.
  @Test(arguments: ways.indices)
  func `headers that it has read and written lead to the same source`(way: Int) async throws {
    var generator = SeededGenerator.announced()
    try await withHAProxy { proxy, listener in
      for _ in 0..<20 {
        var made =
          Bool.random(using: &generator)
          ? GeneratedHeader.line(using: &generator) : GeneratedHeader.block(using: &generator)
        // It doesn't take clients' addresses from DGRAM.
        if made.bytes.starts(with: GeneratedHeader.signature) { made.bytes[13] = made.bytes[13] & 0xF0 | 1 }
        let client = try Socket.connected(to: "127.0.0.1", proxy.port + 10 + way, from: "127.0.0.7")
        try client.send(made.bytes + Self.payload)
        let (bytes, outcome) = try header(at: listener)
        // If HAProxy doesn't know the client, it sends the connection's own source address.
        let source = try made.source ?? IPAddress("127.0.0.7")
        #expect(
          outcome == .complete(length: bytes.count, source: source), "seed \(generator.seed): \(made.bytes), \(bytes)")
      }
    }
  }

  @Test func `its checksum guards the header`() async throws {
    try await withHAProxy { proxy, listener in
      let client = try Socket.connected(to: "127.0.0.1", proxy.port + 3, from: "127.0.0.7")
      try client.send(Self.payload)
      let (bytes, outcome) = try header(at: listener)
      #expect(outcome == .complete(length: bytes.count, source: try IPAddress("127.0.0.7")))
      for bit in 16 * 8..<28 * 8 {
        var damaged = bytes
        damaged[bit / 8] ^= 1 << (bit % 8)
        #expect(ProxyHeader.parse(damaged.span.bytes) == .refused(.wrongChecksum), "bit \(bit)")
      }
    }
  }

  @Test func `its health checks are its own`() async throws {
    let listeners = try Self.ways.map { _ in try Socket.listening() }
    let ports = try listeners.map { try $0.port }
    let proxy = try await HAProxy.start { port, _ in
      Self.ways.enumerated().map { index, way in
        """
        listen way-\(index)
          bind 127.0.0.1:\(port + index)
          option tcp-check
          tcp-check connect send-proxy
          tcp-check send checked
          tcp-check expect string never
          server next 127.0.0.1:\(ports[index]) check inter 50ms \(way)
        """
      }.joined(separator: "\n")
    }
    for (index, listener) in listeners.enumerated() {
      let connection = try listener.accepted()
      let stream = try connection.received { String(decoding: $0, as: UTF8.self).hasSuffix("checked") }
      let outcome = outcome(of: stream)
      // In version 1 it sends its own end of the connection instead, as the specification recommends.
      let source = index == 0 ? try IPAddress("127.0.0.1") : nil
      #expect(outcome == .complete(length: stream.count - 7, source: source), "\(stream)")
    }
    withExtendedLifetime(proxy) {}
  }
}
