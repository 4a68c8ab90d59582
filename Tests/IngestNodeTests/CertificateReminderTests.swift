import Foundation
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

struct CertificateReminderTests {
  private static let day = TimeInterval(86_400)

  private func certificate(from: TimeInterval = -86_400, to: TimeInterval) async throws -> ServerCertificate {
    let folder = try await CertificateFolder.make()
    return try ServerCertificate(
      TLSFiles(
        try await folder.issue("server", from: Date(timeIntervalSinceNow: from), to: Date(timeIntervalSinceNow: to))))
  }

  @Test func `an end that comes near is told once a day, and then that it has come`() async throws {
    let certificate = try await certificate(to: 60 * Self.day)
    let end = certificate.notAfter
    var reminder = CertificateReminder()
    #expect(reminder.warning(about: certificate, at: end - 30 * Self.day) == nil)
    #expect(reminder.warning(about: certificate, at: end - 14 * Self.day) == nil)
    let first = end - 14 * Self.day + 1
    #expect(reminder.warning(about: certificate, at: first) == "the certificate expires in 13 days")
    #expect(reminder.warning(about: certificate, at: first + 5) == nil)
    #expect(reminder.warning(about: certificate, at: first + Self.day - 1) == nil)
    #expect(reminder.warning(about: certificate, at: first + Self.day) == "the certificate expires in 12 days")
    #expect(reminder.warning(about: certificate, at: end - 1.5 * Self.day) == "the certificate expires in 1 day")
    #expect(reminder.warning(about: certificate, at: end - 1) == "the certificate expires in less than a day")
    // Not a second warning within a day, though it is another.
    #expect(reminder.warning(about: certificate, at: end) == nil)
    #expect(
      reminder.warning(about: certificate, at: end + Self.day) == "the certificate has expired: clients reject it")
  }

  @Test func `what is told of one certificate is no reason to keep silent about the next`() async throws {
    let certificate = try await certificate(to: 3 * Self.day)
    var reminder = CertificateReminder()
    let now = Date()
    #expect(reminder.warning(about: certificate, at: now) != nil)
    #expect(reminder.warning(about: certificate, at: now) == nil)
    reminder.replaced()
    #expect(reminder.warning(about: certificate, at: now) != nil)
  }

  @Test func `a clock that was set back doesn't silence it`() async throws {
    let certificate = try await certificate(to: 3 * Self.day)
    var reminder = CertificateReminder()
    let now = Date()
    #expect(reminder.warning(about: certificate, at: now + Self.day) != nil)
    #expect(reminder.warning(about: certificate, at: now) != nil)
  }

  @Test func `a certificate that hasn't begun is told of`() async throws {
    let certificate = try await certificate(from: Self.day, to: 60 * Self.day)
    var reminder = CertificateReminder()
    #expect(
      reminder.warning(about: certificate, at: Date()) == "the certificate isn't valid yet: clients reject it")
    #expect(reminder.warning(about: certificate, at: Date() + 2 * Self.day) == nil)
  }
}
