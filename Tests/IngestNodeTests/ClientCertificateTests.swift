import Foundation
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

struct ClientCertificateTests {
  @Test(arguments: ["TLSv1_2", "TLSv1_3"])
  func `only clients whose certificate an authority of ours vouches for get in`(version: String) async throws {
    let folder = try await CertificateFolder.make()
    let clients = try await CertificateFolder.make(authority: "an authority of clients")
    let strangers = try await CertificateFolder.make(authority: "an authority of others")
    // The certificate's name doesn't count: the API key identifies the client.
    let known = try await clients.issue("a client", extensions: ["extendedKeyUsage=clientAuth"])
    let expired = try await clients.issue(
      "a former client", from: Date(timeIntervalSinceNow: -7200), to: Date(timeIntervalSinceNow: -3600))
    let stranger = try await strangers.issue("a stranger")
    let identity = try TLSIdentity(TLSFiles(try await folder.issue("server"), clients: clients.authority))
    #expect(identity.certificate.clientAuthorities == 1)
    let server = try await TLSServer.start(identity)

    func attempt(as client: CertificateFolder.Issued?) async throws -> Handshake {
      try await Handshake.attempt(port: server.port, trusting: folder.authority, maximum: version, as: client)
    }
    let admitted = try await attempt(as: known)
    #expect(admitted.echo == "hello", "\(admitted)")
    // OpenSSL's names of alerts: the server sent them.
    let refusals = [
      (try await attempt(as: nil), version == "TLSv1_3" ? "certificate required" : "handshake failure"),
      (try await attempt(as: stranger), "unknown ca"),
      (try await attempt(as: expired), "certificate expired"),
    ]
    for (refusal, alert) in refusals {
      #expect(refusal.echo == nil)
      #expect(refusal.error?.contains("alert \(alert)") == true, "expected \(alert), found \(refusal)")
    }
  }

  @Test func `a reload changes which clients get in`() async throws {
    let folder = try await CertificateFolder.make()
    let former = try await CertificateFolder.make(authority: "former")
    let present = try await CertificateFolder.make(authority: "present")
    let authorities = folder.path("clients.pem")
    try replace(authorities, with: former.authority)
    let identity = try TLSIdentity(TLSFiles(try await folder.issue("server"), clients: authorities))
    let server = try await TLSServer.start(identity)
    let old = try await former.issue("old")
    let new = try await present.issue("new")
    func echo(as client: CertificateFolder.Issued) async throws -> String? {
      try await Handshake.attempt(port: server.port, trusting: folder.authority, as: client).echo
    }
    #expect(try await echo(as: old) == "hello")
    #expect(try await echo(as: new) == nil)
    try replace(authorities, with: present.authority)
    #expect(identity.filesHaveChanged)
    try identity.reload()
    #expect(try await echo(as: old) == nil)
    #expect(try await echo(as: new) == "hello")
  }
}
