import Foundation
import NIOSSL
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

struct ServerCertificateTests {
  @Test func `what is told of a certificate is what openssl tells of it`() async throws {
    let folder = try await CertificateFolder.make()
    let end = Date(timeIntervalSince1970: 1_999_999_999)
    let issued = try await folder.issue("server", subject: "/O=Example/CN=push.example.com", to: end)
    let certificate = try ServerCertificate(TLSFiles(issued))
    #expect(certificate.subject == "CN=push.example.com,O=Example")
    #expect(certificate.names == ["localhost", "127.0.0.1"])
    #expect(certificate.notAfter == end)
    #expect(certificate.clientAuthorities == nil)
    let serial = try await CertificateFolder.openssl(["x509", "-in", issued.certificate, "-noout", "-serial"])
    #expect("serial=\(certificate.serial.uppercased())" == serial)
  }

  @Test func `the whole chain is sent`() async throws {
    let folder = try await CertificateFolder.make()
    let between = try await folder.issue(
      "between", extensions: ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"])
    let own = try await folder.issue("server", by: between)
    let chain = folder.path("chain.pem")
    let parts = try [own, between].map { try Data(contentsOf: URL(filePath: $0.certificate)) }
    try (parts[0] + parts[1]).write(to: URL(filePath: chain))

    let whole = try await TLSServer.start(TLSIdentity(TLSFiles(certificateChain: chain, privateKey: own.key)))
    #expect(try await Handshake.attempt(port: whole.port, trusting: folder.authority).echo == "hello")

    let part = try await TLSServer.start(TLSIdentity(TLSFiles(own)))
    let refused = try await Handshake.attempt(port: part.port, trusting: folder.authority)
    #expect(refused.error?.contains("unable to get local issuer certificate") == true, "\(refused)")
  }

  @Test(arguments: ["TLSv1_2", "TLSv1_3"]) func `version and protocol are agreed on`(version: String) async throws {
    let folder = try await CertificateFolder.make()
    let identity = try TLSIdentity(TLSFiles(try await folder.issue("server")))
    let server = try await TLSServer.start(identity)
    let agreed = try await Handshake.attempt(
      port: server.port, trusting: folder.authority, maximum: version, offering: ["h2", "http/1.1"])
    #expect(
      agreed
        == Handshake(
          version: version.replacing("_", with: "."), application: "http/1.1", serial: identity.certificate.serial,
          echo: "hello"))
  }

  @Test func `versions of TLS before 1·2 are refused by the server`() async throws {
    let folder = try await CertificateFolder.make()
    let server = try await TLSServer.start(TLSIdentity(TLSFiles(try await folder.issue("server"))))
    let old = try await Handshake.attempt(port: server.port, trusting: folder.authority, maximum: "TLSv1_1")
    // An alert is what the other side sent.
    #expect(old.error?.contains("alert protocol version") == true, "\(old)")
  }

  @Test func `a certificate that isn't valid now is loaded, and told from one that is`() async throws {
    let folder = try await CertificateFolder.make()
    let now = Date()
    let day = TimeInterval(86_400)
    let expired = try ServerCertificate(
      TLSFiles(try await folder.issue("expired", from: now - 9 * day, to: now - day)))
    #expect(expired.standing(at: now) == .expired)
    #expect(expired.standing(at: expired.notAfter) == .expired)
    #expect(expired.standing(at: now - 2 * day) != .expired)
    let coming = try ServerCertificate(
      TLSFiles(try await folder.issue("coming", from: now + day, to: now + 9 * day)))
    #expect(coming.standing(at: now) == .notYetValid)
    #expect(coming.standing(at: coming.notAfter - 60) == .valid(remaining: .seconds(60)))
  }

  /// Each possible defect of the files, and its message.
  enum Fault: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case noSuchFile, emptyFile, folder, pipe, tooLarge, noCertificate, brokenCertificate
    case keyOfAnother, keyOfAnotherKind, keyIsCertificate, noKey, brokenKey, encryptedKey
    case noSuchAuthorities, noAuthorities

    var testDescription: String { rawValue }

    var found: String {
      switch self {
      case .noSuchFile, .noSuchAuthorities: "No such file or directory"
      case .emptyFile, .pipe: "an empty file"
      case .folder: "Is a directory"
      case .tooLarge: "more than 1048576 bytes"
      case .noCertificate, .noAuthorities: "5 bytes without a certificate"
      case .brokenCertificate: "an unreadable or incomplete certificate"
      case .keyOfAnother, .keyOfAnotherKind: "a key that doesn't match it"
      case .keyIsCertificate: "a certificate and no key"
      case .noKey: "5 bytes without a private key"
      case .brokenKey: "a key that can't be read"
      case .encryptedKey: "an encrypted key"
      }
    }
  }

  @Test(arguments: Fault.allCases) func `a file that can't be used is named, with what was expected and what came`(
    _ fault: Fault
  ) async throws {
    let folder = try await CertificateFolder.make()
    let issued = try await folder.issue("server")
    var files = TLSFiles(issued)
    let bad = folder.path("bad")
    func write(_ text: String) throws { try Data(text.utf8).write(to: URL(filePath: bad)) }
    let key = try String(contentsOf: URL(filePath: issued.key), encoding: .utf8)

    switch fault {
    case .noSuchFile, .noSuchAuthorities: break
    case .emptyFile: try write("")
    case .folder: try FileManager.default.createDirectory(atPath: bad, withIntermediateDirectories: false)
    case .pipe: #expect(mkfifo(bad, 0o600) == 0)
    case .tooLarge: try write(String(repeating: "-", count: 1 << 20 + 1))
    case .noCertificate, .noKey, .noAuthorities: try write("hello")
    case .brokenCertificate:
      let good = try String(contentsOf: URL(filePath: issued.certificate), encoding: .utf8)
      try write(good.replacing("MII", with: "AII"))
    case .keyOfAnother: try replace(bad, with: try await folder.issue("another").key)
    case .keyOfAnotherKind: try await CertificateFolder.openssl(["genrsa", "-out", bad, "2048"])
    case .keyIsCertificate: try replace(bad, with: issued.certificate)
    case .brokenKey: try write(key.replacing("MI", with: "AA"))
    case .encryptedKey:
      try await CertificateFolder.openssl([
        "pkcs8", "-topk8", "-in", issued.key, "-out", bad, "-passout", "pass:secret",
      ])
    }
    switch fault {
    case .noSuchFile, .emptyFile, .folder, .pipe, .tooLarge, .noCertificate, .brokenCertificate:
      files.certificateChain = bad
    case .keyOfAnother, .keyOfAnotherKind, .keyIsCertificate, .noKey, .brokenKey, .encryptedKey:
      files.privateKey = bad
    case .noSuchAuthorities, .noAuthorities: files.clientAuthorities = bad
    }

    let error = try #require(throws: UnusableTLSFile.self) { try ServerCertificate(files) }
    #expect(error.file == bad)
    #expect(error.description.hasPrefix("\(bad): expected "))
    #expect(error.found.contains(fault.found), "\(error)")
    let contents = (try? String(contentsOf: URL(filePath: bad), encoding: .utf8)) ?? ""
    for line in contents.split(separator: "\n") where line.count > 20 && !line.contains("-----") {
      #expect(!error.description.contains(line), "a part of the file is in the error")
    }
  }
}
