// A listener that takes its context from an identity for each connection, as the push listener does, and clients of two kinds: NIO's,
// for connections that a test holds open, and Python's, because OpenSSL is another implementation than the server's.

import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import RedisFixture
import Synchronization

@testable import IngestNode
@testable import Listening

/// Serves over TLS on loopback, with a handler that the test makes. Closed with this object.
final class TLSServer: Sendable {
  private let channel: any Channel

  private init(channel: any Channel) { self.channel = channel }

  deinit { channel.close(promise: nil) }

  var port: Int { channel.localAddress?.port ?? 0 }

  static func start(
    _ identity: TLSIdentity, halfClosure: Bool = false,
    handler: @escaping @Sendable () -> any ChannelHandler & SendableMetatype = { Echo() }
  ) async throws -> TLSServer {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.allowRemoteHalfClosure, value: halfClosure)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: identity.context))
          try channel.pipeline.syncOperations.addHandler(handler())
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return TLSServer(channel: channel)
  }

  private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}

/// A connection that a test holds open.
final class HeldConnection: Sendable {
  private let channel: any Channel
  private let heard: Heard

  private init(channel: any Channel, heard: Heard) {
    self.channel = channel
    self.heard = heard
  }

  deinit { channel.close(promise: nil) }

  static func open(port: Int, trusting authority: String) async throws -> HeldConnection {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.trustRoots = .file(authority)
    let context = try NIOSSLContext(configuration: configuration)
    let heard = Heard()
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(
            NIOSSLClientHandler(context: context, serverHostname: "localhost"))
          try channel.pipeline.syncOperations.addHandler(Listener(heard: heard))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return HeldConnection(channel: channel, heard: heard)
  }

  /// Sends a line and waits for it to come back.
  func echo(_ line: String) async throws {
    try await channel.writeAndFlush(ByteBuffer(string: line + "\n"))
    try await eventually("the echo of \(line)") { heard.text.withLock { $0.hasSuffix(line + "\n") } }
  }

  /// The serial number of the server's certificate.
  func serial() async throws -> String {
    let certificate = try await channel.nioSSL_peerCertificate().get()
    return (certificate?.serialNumber ?? []).map { String(format: "%02x", $0) }.joined()
  }

  private final class Heard: Sendable {
    let text = Mutex("")
  }

  private final class Listener: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    let heard: Heard

    init(heard: Heard) { self.heard = heard }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = String(buffer: unwrapInboundIn(data))
      heard.text.withLock { $0 += part }
    }
  }
}

/// Runs a Python script, and reads the JSON that it prints.
func python<Result: Decodable>(_ script: String, _ arguments: [String], printing: Result.Type) async throws -> Result {
  let process = try await ServiceProcess.start("/usr/bin/env", ["python3", "-c", script] + arguments)
  guard try await process.waitForExit(within: .seconds(30)) == .exited(0) else {
    throw NeverHappened(description: "the client failed\n\(process.outputs)")
  }
  try await eventually("its output is read") { process.standardOutput.isComplete }
  return try JSONDecoder().decode(Result.self, from: Data(process.standardOutput.text.utf8))
}

/// A client that says hello, and what came of it.
struct Handshake: Decodable, Equatable {
  var version: String?
  /// By ALPN.
  var application: String?
  /// In lower case hexadecimal.
  var serial: String?
  var echo: String?
  /// What OpenSSL said, where it failed.
  var error: String?

  /// - Parameters:
  ///   - maximum: The newest version of TLS that the client offers, as Python calls it.
  ///   - client: The client's own certificate.
  static func attempt(
    port: Int, trusting authority: String, maximum: String = "TLSv1_3", offering applications: [String] = ["http/1.1"],
    as client: CertificateFolder.Issued? = nil
  ) async throws -> Handshake {
    try await python(
      script,
      [
        "\(port)", authority, maximum, applications.joined(separator: " "), client?.certificate ?? "",
        client?.key ?? "",
      ],
      printing: Handshake.self)
  }

  private static let script = """
    import json, socket, ssl, sys
    port, authority, maximum, applications, certificate, key = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    # Debian's own policy must not refuse what the server is to refuse.
    context.set_ciphers('DEFAULT:@SECLEVEL=0')
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = getattr(ssl.TLSVersion, maximum)
    context.set_alpn_protocols(applications.split())
    if certificate: context.load_cert_chain(certificate, key)
    try:
        with socket.create_connection(('127.0.0.1', int(port)), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname='localhost') as s:
                s.sendall(b'hello')
                echo = s.recv(100).decode()
                print(json.dumps(dict(
                    version=s.version(), application=s.selected_alpn_protocol(), echo=echo,
                    serial=s.getpeercert()['serialNumber'].lower())))
    except OSError as e:
        print(json.dumps(dict(error=str(e))))
    """
}
