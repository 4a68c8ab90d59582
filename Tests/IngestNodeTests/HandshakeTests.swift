// TLS before the first request: the accepted ciphers, and how long and how often a client may begin a handshake.

import ClientAddress
import Foundation
import KeyReplica
import Logging
import NIOCore
import NIOEmbedded
import NIOTLS
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

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

  @Test func `a client can't choose a group that costs this side much more than others`() async throws {
    let folder = try await CertificateFolder.make()
    let server = try await TLSServer.start(try await identity(in: folder))
    let outcomes = try await python(Self.groups, ["\(server.port)"], printing: [String: String].self)
    #expect(
      outcomes == [
        "tls1_3 X25519": "taken", "tls1_3 P-256": "taken", "tls1_3 P-384": "refused", "tls1_3 P-521": "refused",
        // There the certificate's curve has to be among the client's, too.
        "tls1_2 X25519": "refused", "tls1_2 P-256": "taken", "tls1_2 P-384": "refused", "tls1_2 P-521": "refused",
      ])
  }

  private static let groups = """
    import json, subprocess, sys
    outcomes = {}
    for version in 'tls1_3', 'tls1_2':
        for group in 'X25519', 'P-256', 'P-384', 'P-521':
            run = subprocess.run(['openssl', 's_client', '-' + version, '-groups', group, '-connect', '127.0.0.1:' + sys.argv[1]],
                                 input=b'', capture_output=True, timeout=30)
            outcomes[version + ' ' + group] = 'taken' if b'Cipher is (NONE)' not in run.stdout else 'refused'
    print(json.dumps(outcomes))
    """

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
    try await LoopbackServer.with(identity: identity, handshakes: ConnectionRate(perSecond: .zero)) { server in
      #expect(try await server.connectionIsReset())
      try await eventually("its place is free") { server.limiter.current == 0 }
    }
  }

  @Test func `a hello that is larger than any client needs is closed before TLS looks at it`() async throws {
    let identity = try await identity(in: try await CertificateFolder.make())
    try await LoopbackServer.with(identity: identity) { server in
      let client = try await server.connect()
      // Records of a handshake, and in them a hello of 16 KB.
      let body = String(repeating: "\u{0}", count: 8_000)
      client.send("\u{16}\u{3}\u{1}\u{1F}\u{44}\u{1}\u{0}\u{3F}\u{FC}" + body)
      try await eventually("it is closed") { client.isReset }
      try await eventually("its place is free") { server.limiter.current == 0 }
    }
  }

  @Test func `what handshakes take is charged to the client, and more than a second's share to the next seconds`()
    throws
  {
    let rate = ConnectionRate(perSecond: .milliseconds(10))
    let (one, other) = (try IPAddress("192.0.2.1"), try IPAddress("192.0.2.2"))
    func admits(_ address: IPAddress, at seconds: Double) -> Bool {
      rate.admit(address, costing: .milliseconds(1), at: Instant(nanoseconds: Int64(seconds * 1e9)))
    }
    #expect(admits(one, at: 1))
    rate.charge(one, .milliseconds(24), at: Instant(nanoseconds: 1_100_000_000))
    #expect(!admits(one, at: 1.2) && admits(other, at: 1.2))
    #expect(!admits(one, at: 2.5), "15 of 25 are left, and 10 are for this second")
    #expect(admits(one, at: 3.5), "5 are left")
    for _ in 0..<10 { #expect(admits(one, at: 5)) }
    #expect(!admits(one, at: 5.5))
  }

  @Test func `each client takes so much time with handshakes a second`() throws {
    let rate = ConnectionRate(perSecond: .milliseconds(10))
    let (one, other) = (try IPAddress("2001:db8::1"), try IPAddress("192.0.2.1"))
    func admits(_ address: IPAddress, _ milliseconds: Int, at seconds: Double) -> Bool {
      rate.admit(address, costing: .milliseconds(milliseconds), at: Instant(nanoseconds: Int64(seconds * 1e9)))
    }
    for _ in 1...3 { #expect(admits(one, 3, at: 5.1)) }
    let neighbour = try IPAddress("2001:db8::2")
    #expect(!admits(neighbour, 2, at: 5.9), "of the same /64")
    // What is turned away isn't counted.
    #expect(admits(neighbour, 1, at: 5.9) && !admits(neighbour, 1, at: 5.9))
    #expect(admits(other, 10, at: 5.9) && !admits(other, 11, at: 7))
    #expect(admits(one, 3, at: 6))
  }

  @Test(arguments: [
    (ServerKeyKind.p256, 1_315, nil), (.ed25519, 1_315, nil), (.p384, 238, nil), (.rsa(2_048), 294, nil),
    (.rsa(3_072), 116, 11), (.rsa(4_096), 60, 22), (.rsa(8_192), 6, 211), (.other, 60, nil),
  ])
  func `a client begins as many handshakes a second as a quarter of an event loop does with the key`(
    kind: ServerKeyKind, count: Int, times: Int?
  ) throws {
    let (rate, client) = (ConnectionRate(), try IPAddress("192.0.2.1"))
    let admitted = (0..<2_000).count { _ in
      rate.admit(client, costing: kind.handshake, at: Instant(nanoseconds: 5))
    }
    #expect(admitted == count && kind.timesP256 == times)
  }

  @Test func `the key of a certificate is known, and a reload changes what its handshakes count`() async throws {
    let folder = try await CertificateFolder.make()
    var issued: [ServerKeyKind: CertificateFolder.Issued] = [:]
    for (name, kind, key) in [
      ("p256", ServerKeyKind.p256, CertificateFolder.newKey),
      ("p384", .p384, ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes"]),
      ("p521", .p521, ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1", "-nodes"]),
      ("ed25519", .ed25519, ["-newkey", "ed25519", "-nodes"]),
      ("rsa2048", .rsa(2_048), ["-newkey", "rsa:2048", "-nodes"]),
      ("rsa4096", .rsa(4_096), ["-newkey", "rsa:4096", "-nodes"]),
    ] {
      let files = try await folder.issue(name, key: key)
      #expect(try ServerCertificate(TLSFiles(files)).keyKind == kind, "\(name)")
      issued[kind] = files
    }
    let (rsa, ecdsa) = (try #require(issued[.rsa(4_096)]), try #require(issued[.p256]))
    let identity = try TLSIdentity(TLSFiles(try rsa.installed(in: folder)))
    // Enough for some handshakes with the one key, and for none with the other.
    let rate = ConnectionRate(perSecond: .milliseconds(1))
    try await LoopbackServer.with(identity: identity, handshakes: rate) { server in
      #expect(try await server.connectionIsReset())
      _ = try ecdsa.installed(in: folder)
      try identity.reload()
      let client = try await server.connect()
      try await eventually("it is served") { server.limiter.current == 1 }
      // No hello, but an alert says that it was read.
      client.send("no TLS at all")
      try await eventually("it is told what is wrong") { client.stream.first == 21 }
    }
  }

  @Test func `that the key is a slow one is said once it is loaded`() async throws {
    let folder = try await CertificateFolder.make()
    for (key, isSaid) in [(["-newkey", "rsa:3072", "-nodes"], true), (CertificateFolder.newKey, false)] {
      let log = RecordedLog()
      let identity = try TLSIdentity(TLSFiles(try await folder.issue("server", key: key).installed(in: folder)))
      CertificateKeeper(identity, logger: log.logger).reload(because: "a test")
      let said = log.lines(.warning).contains {
        $0.message
          == "this private key makes TLS handshakes 11 times slower than ECDSA P-256: consider a P-256 certificate"
      }
      #expect(said == isSaid, "\(log.lines)")
    }
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
