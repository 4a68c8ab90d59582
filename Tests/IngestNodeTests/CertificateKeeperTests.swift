import Foundation
import Logging
import PrometheusText
import RedisFixture
import ServiceLifecycle
import Testing

@testable import IngestNode
@testable import Listening

/// One after the other: SIGHUP goes to the whole process.
@Suite(.serialized) struct CertificateKeeperTests {
  /// A keeper that runs as in a node, with what it tells.
  private struct Kept {
    let identity: TLSIdentity
    let keeper: CertificateKeeper
    let log = RecordedLog()
    let metrics = PrometheusRegistry(PrometheusRegistry.Options())

    init(_ place: CertificateFolder.Issued, interval: Duration = .milliseconds(10)) throws {
      identity = try TLSIdentity(TLSFiles(place))
      keeper = CertificateKeeper(identity, interval: interval, metrics: metrics, logger: log.logger)
    }

    /// Runs it around the body, and ends it as a node ends.
    func running(_ body: () async throws -> Void) async throws {
      let group = ServiceGroup(
        configuration: .init(services: [.init(service: keeper)], gracefulShutdownSignals: [], logger: log.logger))
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        try await eventually("the keeper has begun") { loaded.count >= 1 }
        try await body()
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
      }
    }

    var loaded: [RecordedLog.Line] { log.lines.filter { $0.message == "certificate loaded" } }
    var failures: [RecordedLog.Line] { log.lines(.error) }
  }

  @Test func `files that change are loaded, and the log and the metrics tell which they are`() async throws {
    let folder = try await CertificateFolder.make()
    let first = try await folder.issue("first", to: Date(timeIntervalSince1970: 1_950_000_000))
    let second = try await folder.issue("second", to: Date(timeIntervalSince1970: 1_999_999_999))
    let place = try first.installed(in: folder)
    let kept = try Kept(place)
    try await kept.running {
      #expect(kept.loaded[0].metadata["subject"] == "CN=first")
      #expect(kept.metrics.render().contains("sluice_tls_certificate_expiry_seconds 1950000000"))
      let server = try await TLSServer.start(kept.identity)
      _ = try second.installed(in: folder)
      try await eventually("the new certificate is served") {
        try await Handshake.attempt(port: server.port, trusting: folder.authority).serial
          == kept.identity.certificate.serial && kept.loaded.last?.metadata["subject"] == "CN=second"
      }
      let line = try #require(kept.loaded.last)
      #expect(line.metadata["trigger"] == "the files have changed")
      #expect(line.metadata["serial"] == "\(kept.identity.certificate.serial)")
      #expect(line.metadata["not_after"] == "2033-05-18T03:33:19Z")
      #expect(line.metadata["names"] == "localhost 127.0.0.1")
      #expect(kept.metrics.render().contains("sluice_tls_certificate_expiry_seconds 1999999999"))
    }
    #expect(kept.log.lines(.warning).isEmpty)
  }

  @Test func `Kubernetes points a link elsewhere, and that is seen`() async throws {
    let folder = try await CertificateFolder.make()
    for name in ["v1", "v2"] {
      let issued = try await folder.issue(name)
      try FileManager.default.createDirectory(atPath: folder.path("..\(name)"), withIntermediateDirectories: false)
      try replace(folder.path("..\(name)/tls.crt"), with: issued.certificate)
      try replace(folder.path("..\(name)/tls.key"), with: issued.key)
    }
    func link(_ name: String, to destination: String) throws {
      try FileManager.default.createSymbolicLink(atPath: folder.path("aside"), withDestinationPath: destination)
      #expect(rename(folder.path("aside"), folder.path(name)) == 0)
    }
    try link("..data", to: "..v1")
    try link("tls.crt", to: "..data/tls.crt")
    try link("tls.key", to: "..data/tls.key")
    let kept = try Kept(.init(certificate: folder.path("tls.crt"), key: folder.path("tls.key")))
    try await kept.running {
      try link("..data", to: "..v2")
      try await eventually("the other certificate is loaded") { kept.identity.certificate.subject == "CN=v2" }
    }
    #expect(kept.failures.isEmpty)
  }

  @Test func `a reload that fails is told once, and the old certificate goes on being used`() async throws {
    let folder = try await CertificateFolder.make()
    let first = try await folder.issue("first")
    let second = try await folder.issue("second")
    let place = try first.installed(in: folder)
    let kept = try Kept(place)
    let old = kept.identity.certificate.serial
    try await kept.running {
      try replace(place.certificate, with: second.certificate)
      try await eventually("the failure is told") { !kept.failures.isEmpty }
      // It looks at the files again, and finds what it has found already.
      for _ in 1...3 { kept.keeper.look() }
      #expect(kept.failures.count == 1)
      let line = try #require(kept.failures.first)
      #expect(line.message == "reloading the certificate failed; keeping the previous one")
      #expect(line.metadata["old_serial"] == "\(old)")
      #expect(line.metadata["reason"]?.description.contains(place.key) == true, "\(line)")
      #expect(kept.identity.certificate.serial == old)

      try replace(place.key, with: second.key)
      try await eventually("the repaired pair is loaded") { kept.identity.certificate.subject == "CN=second" }
      #expect(kept.failures.count == 1)
    }
  }

  @Test func `SIGHUP reloads, and ends the process neither while the keeper runs nor after it`() async throws {
    let folder = try await CertificateFolder.make()
    let place = try await folder.issue("first").installed(in: folder)
    // It never looks by itself.
    let kept = try Kept(place, interval: .seconds(3600))
    // The signal would end the test process if it weren't caught; then this test is the one to fail.
    func requireCaught() throws {
      var action = sigaction()
      #expect(sigaction(SIGHUP, nil, &action) == 0)
      try #require(action.__sigaction_handler.sa_handler != nil, "SIGHUP would end the process")
    }
    func hangUp() throws {
      try requireCaught()
      #expect(kill(getpid(), SIGHUP) == 0)
    }
    try await kept.running {
      try hangUp()
      try await eventually("the same files are read again") { kept.loaded.count == 2 }
      #expect(kept.loaded[1].metadata["trigger"] == "SIGHUP")
      _ = try await folder.issue("second").installed(in: folder)
      try hangUp()
      try await eventually("the new files are read") { kept.identity.certificate.subject == "CN=second" }
      try Data("hello".utf8).write(to: URL(filePath: place.certificate))
      try hangUp()
      try await eventually("the failure is told") { kept.failures.count == 1 }
      // Each time that an operator asks, there is an answer.
      try hangUp()
      try await eventually("the failure is told again") { kept.failures.count == 2 }
      #expect(kept.identity.certificate.subject == "CN=second")
    }
    // Not sent once more: the next keeper of this process would hear it.
    try requireCaught()
  }

  @Test func `a certificate that has expired is used, with a warning`() async throws {
    let folder = try await CertificateFolder.make()
    let place = try await folder.issue(
      "expired", from: Date(timeIntervalSinceNow: -7200), to: Date(timeIntervalSinceNow: -3600))
    let kept = try Kept(place)
    try await kept.running {
      #expect(kept.loaded.count == 1)
      let warning = try #require(kept.log.lines(.warning).first)
      #expect(warning.message == "the certificate has expired: clients reject it")
      #expect(warning.metadata["serial"] == "\(kept.identity.certificate.serial)")
      // Looking again within the day is no reason to say it again; a day later is.
      for _ in 1...3 { kept.keeper.look() }
      #expect(kept.log.lines(.warning).count == 1)
      kept.keeper.look(at: Date(timeIntervalSinceNow: 90_000))
      #expect(kept.log.lines(.warning).count == 2)
    }
  }
}
