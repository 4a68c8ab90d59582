import AsyncHTTPClient
import Foundation
import NIOSSL
import RedisFixture
import Testing

@testable import IngestClient

struct TLSTests {
  @Test func `a certificate is checked as the passed configuration says`() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let openssl = try await ServiceProcess.start(
      "/usr/bin/openssl",
      [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=test", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder.path("key.pem"), "-out",
        folder.path("certificate.pem"),
      ])
    #expect(try await openssl.waitForExit() == .exited(0))
    let certificates = try NIOSSLCertificate.fromPEMFile(folder.path("certificate.pem"))
    let context = try NIOSSLContext(
      configuration: .makeServerConfiguration(
        certificateChain: certificates.map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: folder.path("key.pem"), format: .pem))))
    let server = try await PushServer.start(tls: context) { _, _ in .answer(202) }
    let endpoint = "https://localhost:\(server.port)/v1/events"

    let trusting = try RunningClient(endpoint) {
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.trustRoots = .certificates(certificates)
      $0.http.tlsConfiguration = tls
      // The server is on 127.0.0.1 alone, and "localhost" may be ::1 first.
      $0.http.dnsOverride = ["localhost": "127.0.0.1"]
    }
    try await trusting.running {
      let delivery = try await trusting.client.push(IngestClient.Payload(Array("{}".utf8)))
      #expect(delivery.attempts == 1)
    }

    let wary = try RunningClient(endpoint) { $0.http.dnsOverride = ["localhost": "127.0.0.1"] }
    try await wary.running {
      try wary.client.submit(IngestClient.Payload(Array("{}".utf8)))
      try await wary.passTime(until: "it was tried") { wary.log.text.contains("push attempt failed") }
    }
    #expect(server.pushes.count == 1)
  }
}
