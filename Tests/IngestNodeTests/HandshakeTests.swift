// TLS before the first request: which ciphers are taken, and how long and how often a client may begin.

import ClientAddress
import Foundation
import KeyReplica
import NIOCore
import NIOEmbedded
import NIOTLS
import RedisFixture
import Testing

@testable import IngestNode

@Suite struct HandshakeTests {
  @Test func `TLS 1.2 is spoken with ECDHE and AEAD, and with nothing less`() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let (certificate, key) = (folder.path("certificate.pem"), folder.path("key.pem"))
    // RSA, with which the old key exchange would be possible.
    let made = try await ServiceProcess.start(
      "/usr/bin/openssl",
      [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
        "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate,
      ])
    #expect(try await made.waitForExit() == .exited(0))
    let identity = try TLSIdentity(
      TLSFiles(certificateChain: certificate, privateKey: key, clientAuthorities: nil))
    let server = try await TLSServer.start(identity)
    let outcomes = try await python(
      Self.script, ["\(server.port)", certificate], printing: [String: String].self)
    #expect(
      outcomes == [
        "ECDHE-RSA-AES128-GCM-SHA256": "taken", "ECDHE-RSA-AES256-GCM-SHA384": "taken",
        "ECDHE-RSA-CHACHA20-POLY1305": "taken", "AES128-SHA": "refused", "AES256-SHA": "refused",
        "AES128-GCM-SHA256": "refused", "AES256-GCM-SHA384": "refused", "ECDHE-RSA-AES128-SHA": "refused",
        "ECDHE-RSA-AES256-SHA": "refused", "ECDHE-RSA-AES128-SHA256": "refused",
      ])
  }

  private static let script = """
    import json, socket, ssl, sys
    outcomes = {}
    for cipher in ('ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305 AES128-SHA AES256-SHA '
                   'AES128-GCM-SHA256 AES256-GCM-SHA384 ECDHE-RSA-AES128-SHA ECDHE-RSA-AES256-SHA ECDHE-RSA-AES128-SHA256').split():
        context = ssl.create_default_context(cafile=sys.argv[2])
        context.set_ciphers(cipher + ':@SECLEVEL=0')
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            with socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=10) as raw:
                with context.wrap_socket(raw, server_hostname='localhost') as s:
                    s.sendall(b'hello')
                    outcomes[cipher] = 'taken' if s.recv(100) == b'hello' and s.cipher()[0] == cipher else 'odd'
        except OSError: outcomes[cipher] = 'refused'
    print(json.dumps(outcomes))
    """

  private func identity(in folder: CertificateFolder) async throws -> TLSIdentity {
    try TLSIdentity(TLSFiles(try await folder.issue("server").installed(in: folder)))
  }

  @Test func `a hello that comes byte by byte has the head's deadline, and not that of an idle connection`()
    async throws
  {
    let identity = try await identity(in: try await CertificateFolder.make())
    var deadlines = PhaseDeadlines()
    deadlines.head = .milliseconds(300)
    try await LoopbackServer.with(deadlines: deadlines, identity: identity) { server in
      let client = try await server.connect()
      // The beginning of a record of 512 bytes, and of a hello in it.
      client.send("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}")
      try await eventually("it is closed") { client.isReset }
      #expect(server.limiter.current == 0 && client.stream.isEmpty)
    }
  }

  @Test func `a client that begins too many handshakes a second is closed before its hello is read`() async throws {
    let identity = try await identity(in: try await CertificateFolder.make())
    try await LoopbackServer.with(identity: identity, handshakes: HandshakeRate(perSecond: 0)) { server in
      #expect(try await server.connectionIsReset())
      try await eventually("its place is free") { server.limiter.current == 0 }
    }
  }

  @Test func `each client begins so many handshakes a second`() throws {
    let rate = HandshakeRate(perSecond: 3)
    let (one, other) = (try IPAddress("2001:db8::1"), try IPAddress("192.0.2.1"))
    func moment(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }
    for _ in 1...3 { #expect(rate.admit(one, at: moment(5.1))) }
    #expect(!rate.admit(try IPAddress("2001:db8::2"), at: moment(5.9)), "of the same /64")
    #expect(rate.admit(other, at: moment(5.9)))
    #expect(rate.admit(one, at: moment(6)))
  }

  @Test func `a handshake that ends in time has no deadline any more`() throws {
    final class Missed { var count = 0 }
    let missed = Missed()
    let loop = EmbeddedEventLoop()
    let channel = EmbeddedChannel(
      handler: HandshakeDeadline(deadline: .seconds(10)) { missed.count += 1 }, loop: loop)
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    loop.advanceTime(by: .seconds(9))
    channel.pipeline.fireUserInboundEventTriggered(TLSUserEvent.handshakeCompleted(negotiatedProtocol: nil))
    loop.advanceTime(by: .seconds(60))
    #expect(missed.count == 0 && channel.isActive)
    #expect(throws: ChannelPipelineError.self) {
      try channel.pipeline.syncOperations.handler(type: HandshakeDeadline.self)
    }

    let late = EmbeddedChannel(
      handler: HandshakeDeadline(deadline: .seconds(10)) { missed.count += 1 }, loop: loop)
    try late.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    loop.advanceTime(by: .seconds(11))
    #expect(missed.count == 1 && !late.isActive)
    _ = try channel.finish()
  }
}
