import Foundation
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

struct TLSIdentityTests {
  @Test func `a connection goes on over a reload, and a new one gets the new certificate`() async throws {
    let folder = try await CertificateFolder.make()
    let first = try await folder.issue("first")
    let second = try await folder.issue("second")
    let place = try first.installed(in: folder)
    let identity = try TLSIdentity(TLSFiles(place))
    let server = try await TLSServer.start(identity)
    let held = try await HeldConnection.open(port: server.port, trusting: folder.authority)
    try await held.echo("before")
    let old = identity.certificate.serial
    #expect(try await held.serial() == old)
    #expect(!identity.filesHaveChanged)

    _ = try second.installed(in: folder)
    #expect(identity.filesHaveChanged)
    let new = try identity.reload().serial
    #expect(new != old)
    #expect(!identity.filesHaveChanged)
    try await held.echo("after")
    #expect(try await held.serial() == old)
    let other = try await HeldConnection.open(port: server.port, trusting: folder.authority)
    try await other.echo("anew")
    #expect(try await other.serial() == new)
    try await held.echo("still")
  }

  @Test func `files that can't be used leave the certificate what it was`() async throws {
    let folder = try await CertificateFolder.make()
    let first = try await folder.issue("first")
    let second = try await folder.issue("second")
    let place = try first.installed(in: folder)
    let identity = try TLSIdentity(TLSFiles(place))
    let old = identity.certificate.serial

    // The certificate is there before its key is.
    try replace(place.certificate, with: second.certificate)
    let error = #expect(throws: UnusableTLSFile.self) { try identity.reload() }
    #expect(error?.file == place.key)
    #expect(identity.certificate.serial == old)
    // Those were read, and would be no better for being read again.
    #expect(!identity.filesHaveChanged)
    let server = try await TLSServer.start(identity)
    #expect(try await Handshake.attempt(port: server.port, trusting: folder.authority).serial == old)

    try replace(place.key, with: second.key)
    #expect(identity.filesHaveChanged)
    #expect(try identity.reload().serial != old)
  }
}

struct FileFingerprintTests {
  @Test func `each way in which a file can change is seen`() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    // As Kubernetes mounts a secret: the file is a link into `..data`, which is a link to a folder.
    for version in ["v1", "v2"] {
      try FileManager.default.createDirectory(atPath: folder.path(version), withIntermediateDirectories: false)
      try Data("one".utf8).write(to: folder.url("\(version)/file"))
    }
    try FileManager.default.createSymbolicLink(atPath: folder.path("..data"), withDestinationPath: "v1")
    try FileManager.default.createSymbolicLink(atPath: folder.path("file"), withDestinationPath: "..data/file")
    let path = folder.path("file")
    var last = FileFingerprint(of: path)
    func expectChange(_ what: String, _ change: () throws -> Void) throws {
      #expect(FileFingerprint(of: path) == last, "before \(what)")
      try change()
      let now = FileFingerprint(of: path)
      #expect(now != last, "\(what)")
      last = now
    }

    try expectChange("the links point elsewhere") {
      try FileManager.default.createSymbolicLink(atPath: folder.path("next"), withDestinationPath: "v2")
      #expect(rename(folder.path("next"), folder.path("..data")) == 0)
    }
    try expectChange("other content of another length, in place") {
      let handle = try FileHandle(forWritingTo: folder.url("v2/file"))
      try handle.write(contentsOf: Data("three".utf8))
      try handle.close()
    }
    try expectChange("another time") {
      try FileManager.default.setAttributes(
        [.modificationDate: Date(timeIntervalSince1970: 1_700_000_000)], ofItemAtPath: folder.path("v2/file"))
    }
    try expectChange("the same content as another file") {
      try replace(folder.path("v2/file"), with: folder.path("v2/file"))
      try FileManager.default.setAttributes(
        [.modificationDate: Date(timeIntervalSince1970: 1_700_000_000)], ofItemAtPath: folder.path("v2/file"))
    }
    try expectChange("permissions") {
      try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: folder.path("v2/file"))
    }
    try expectChange("gone") { try FileManager.default.removeItem(atPath: folder.path("v2/file")) }
    try expectChange("there again") { try Data("one".utf8).write(to: folder.url("v2/file")) }
  }
}
