// The memory that clients can occupy in a node: little for each connection, whatever they send, and no more than their
// share in total.

import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import RedisFixture
import Testing

struct StrangerMemoryTests {
  /// Sends this number of bytes as fast as they are read, and discards the answers.
  private final class Sender: Sendable {
    private final class Drain: ChannelInboundHandler {
      typealias InboundIn = ByteBuffer
      func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
    }

    private let channel: any Channel

    init(to node: Node, tls: NIOSSLContext?) async throws {
      let parts = node.push.split(separator: ":")
      channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            if let tls {
              try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil))
            }
            try channel.pipeline.syncOperations.addHandler(Drain())
          }
        }
        .connect(host: String(parts[0]), port: Int(parts[1]) ?? 0).get()
    }

    func send(_ bytes: ByteBuffer) async throws { try await channel.writeAndFlush(bytes) }
    func close() async throws { try await channel.close() }
  }

  /// Requests without a key whose length shares no factor with that of a read, so that nearly each read ends one and begins the next.
  private static let heads: ByteBuffer = {
    let start = "GET /nothing HTTP/1.1\r\nHost: h\r\nX: "
    let head = start + String(repeating: "x", count: 16_001 - start.utf8.count - 4) + "\r\n\r\n"
    return ByteBuffer(string: String(repeating: head, count: 64))
  }()

  @Test(arguments: [false, true]) func `memory doesn't follow what is sent on a connection`(isEncrypted: Bool)
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    var (arguments, tls): ([String], NIOSSLContext?) = ([], nil)
    let authority = try await CertificateAuthority()
    if isEncrypted {
      let place = authority.place
      try authority.install(try await authority.issue("server"), in: place)
      arguments = ["--tls-certificate", place.certificate, "--tls-key", place.key]
      tls = try authority.client(showing: nil)
    }
    let node = try await deployment.startNode("node-1", arguments)
    try await node.becomesReady()

    let sender = try await Sender(to: node, tls: tls)
    func send(_ bytes: Int) async throws -> Int {
      var (sent, most) = (0, 0)
      while sent < bytes {
        try await sender.send(Self.heads)
        sent += Self.heads.readableBytes
        most = max(most, try node.process.residentBytes())
      }
      return most
    }
    // Once everything that is made once is there.
    let usual = try await send(16 << 20)
    let most = try await send(512 << 20)
    #expect(most < usual + (24 << 20), "\(most) bytes of memory for half a gigabyte, \(usual) before")
    try await sender.close()
    #expect(try await node.isReady())
  }

  /// Anybody may ask what CORS allows, without a key, and each question is a tenth of its answer.
  @Test(arguments: [false, true]) func `connections without a key that read no answer hold little each`(
    isEncrypted: Bool
  ) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    var (arguments, tls): ([String], NIOSSLContext?) = (["--max-connections-per-address", "1000"], nil)
    let authority = try await CertificateAuthority()
    if isEncrypted {
      let place = authority.place
      try authority.install(try await authority.issue("server"), in: place)
      arguments += ["--tls-certificate", place.certificate, "--tls-key", place.key]
      tls = try authority.client(showing: nil)
    }
    let node = try await deployment.startNode("node-1", arguments)
    try await node.becomesReady()
    let question =
      "OPTIONS /api/1/envelope/ HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    let ahead = Array(String(repeating: question, count: 2_000).utf8)
    func connect(_ count: Int) async throws -> [WireConnection] {
      var clients: [WireConnection] = []
      for index in 0..<count {
        let client = try await WireConnection.connected(
          to: node.push, from: "127.0.0.\(2 + index % 100)", tls: tls, reads: false)
        // TLS begins by reading.
        try await client.reads(true)
        client.send(question)
        #expect(try await client.answer().status == 200)
        try await client.reads(false)
        client.send(ahead)
        clients.append(client)
      }
      return clients
    }
    /// Waits until it has answered all that it will.
    func standsStill() async throws {
      var (last, unchanged) = ("", 0)
      try await eventually(within: .seconds(60), "no more questions are answered") {
        let metrics = try await node.get("/metrics").body
        let count = try #require(metrics.firstMatch(of: /sluice_push_answers_total\{[^}]*reason="preflight"[^}]*} \d+/))
          .0
        unchanged = count == last ? unchanged + 1 : 0
        last = String(count)
        return unchanged == 10
      }
    }
    let first = try await connect(20)
    try await standsStill()
    let usual = try node.process.residentBytes()
    let clients = try await connect(300)
    try await standsStill()
    let each = (try node.process.residentBytes() - usual) / clients.count
    #expect(each < (isEncrypted ? 112 : 32) << 10, "\(each) bytes each")
    for client in first + clients { client.close() }
  }

  @Test func `clients without a key can't fill the node`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--threads", "1"])
    try await node.becomesReady()
    var strangers: [WireConnection] = []
    for index in 0..<111 {
      let stranger = try await WireConnection.connected(to: node.push, from: "127.0.0.\(2 + index % 3)")
      // One byte short, and the first line doesn't end where the key would be looked for.
      let length = index < 100 ? 15 << 20 : 15 << 10
      stranger.send("POST /api/1/envelope/ HTTP/1.1\r\nHost: h\r\nContent-Length: \(length)\r\n\r\n")
      stranger.send([UInt8](repeating: 0x61, count: min(length - 1, 1 << 20)))
      strangers.append(stranger)
    }
    // Large bodies are answered that there is no key before they have been sent; small ones are read to their last byte
    // first.
    for stranger in strangers.prefix(100) { #expect([400, 503].contains(try await stranger.answer().status)) }
    for _ in 0..<20 {
      let answer = try await node.push([UInt8](repeating: 0x20, count: 8 << 20), key: Deployment.key(1))
      #expect(answer.status == 202, "\(answer.body)")
    }
    for stranger in strangers { stranger.close() }
  }

  @Test func `one good key can't fill the node`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--threads", "1"])
    try await node.becomesReady()
    var greedy: [WireConnection] = []
    let part = [UInt8](repeating: 0x20, count: (15 << 20) - 1)
    for index in 0..<24 {
      let client = try await WireConnection.connected(to: node.push, from: "127.0.0.\(2 + index % 3)")
      client.send(
        "POST /v1/x HTTP/1.1\r\nHost: h\r\nX-API-Key: \(Deployment.key(2))\r\nContent-Length: \(part.count + 1)\r\n\r\n"
      )
      client.send(part)
      greedy.append(client)
    }
    // An eighth of 256 MiB is two of them, and the others are told.
    var told: [String] = []
    for client in greedy {
      do {
        let answer = try await client.answer(within: told.count < 22 ? .seconds(1) : .zero)
        #expect(answer.status == 503)
        told.append(answer.member("reason") ?? "")
      } catch is WireConnection.Missing {
        // It waits for its last byte.
      }
    }
    #expect(told == Array(repeating: "account_full", count: 22))
    let other = try await node.push([UInt8](repeating: 0x20, count: 15 << 20), key: Deployment.key(1))
    #expect(other.status == 202, "\(other.body)")
    for client in greedy { client.close() }
  }
}

extension ServiceProcess {
  /// Its memory in bytes, as the kernel counts it.
  func residentBytes() throws -> Int { try memory("VmRSS") }

  /// The most that it ever had.
  func peakBytes() throws -> Int { try memory("VmHWM") }

  private func memory(_ name: String) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") }
    guard let kilobytes = line?.firstMatch(of: /(\d+) kB/).flatMap({ Int($0.1) }) else {
      throw NeverHappened(description: "no \(name) in \(status)")
    }
    return kilobytes << 10
  }
}
