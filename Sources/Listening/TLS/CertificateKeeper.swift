// Keeps the listener's certificate up to date while the node runs. It reads the files again when they change and on
// SIGHUP, and reports in the log and the metrics when the certificate expires. If a reload fails, the old certificate
// stays in use, with a line in the log. Two tasks may reload at the same time, so a lock serialises them. Both do it on
// NIO's thread pool, because reading a file may block.

package import CoreMetrics
import Foundation
package import Logging
import ServiceLifecycle
import Synchronization

/// The service that reloads the certificate.
package final class CertificateKeeper: Service {
  /// A certificate may have a hundred names, too many for a line of the log.
  private static let namesTold = 10

  private let identity: TLSIdentity
  private let interval: Duration
  private let expiry: Gauge
  private let logger: Logger
  private let reminder = Mutex(CertificateReminder())

  /// - Parameter interval: The time between two checks of the files.
  package init(
    _ identity: TLSIdentity, interval: Duration = .seconds(5), metrics: any MetricsFactory = MetricsSystem.factory,
    logger: Logger
  ) {
    self.identity = identity
    self.interval = interval
    self.logger = logger
    expiry = Gauge(label: "sluice_tls_certificate_expiry_seconds", dimensions: [], factory: metrics)
  }

  /// Runs until the process ends.
  package func run() async throws {
    await ReloadedFile.watch(every: interval) {
      self.reminder.withLock { self.tell(of: self.identity.certificate, &$0, at: Date()) }
    } hangup: {
      self.reload(because: "SIGHUP")
    } look: {
      self.look()
    }
  }

  /// Reloads if the files have changed, and warns before a certificate expires. Blocks.
  func look(at now: Date = Date()) {
    if identity.filesHaveChanged {
      reload(because: "the files have changed", at: now)
    } else {
      reminder.withLock { remind(of: identity.certificate, &$0, at: now) }
    }
  }

  /// Reads the files again. Blocks.
  func reload(because trigger: String, at now: Date = Date()) {
    reminder.withLock { reminder in
      do {
        let certificate = try identity.reload()
        reminder.replaced()
        tell(of: certificate, &reminder, at: now, because: trigger)
      } catch {
        let old = identity.certificate
        logger.error(
          "reloading the certificate failed; keeping the previous one",
          metadata: [
            "trigger": "\(trigger)", "reason": "\(error)", "old_serial": "\(old.serial)",
            "old_not_after": "\(old.notAfter.formatted(.iso8601))",
          ])
        remind(of: old, &reminder, at: now)
      }
    }
  }

  private func tell(
    of certificate: ServerCertificate, _ reminder: inout CertificateReminder, at now: Date,
    because trigger: String = "the process starts"
  ) {
    expiry.record(certificate.notAfter.timeIntervalSince1970)
    var metadata: Logger.Metadata = [
      "trigger": "\(trigger)", "file": "\(identity.files.certificateChain)", "subject": "\(certificate.subject)",
      "names": "\(certificate.names.prefix(Self.namesTold).joined(separator: " "))", "serial": "\(certificate.serial)",
      "not_after": "\(certificate.notAfter.formatted(.iso8601))", "key": "\(certificate.keyKind)",
    ]
    if let count = certificate.clientAuthorities { metadata["client_authorities"] = "\(count)" }
    logger.notice("certificate loaded", metadata: metadata)
    if let times = certificate.keyKind.timesP256 {
      logger.warning(
        "this private key makes TLS handshakes \(times) times slower than ECDSA P-256: consider a P-256 certificate",
        metadata: ["key": "\(certificate.keyKind)", "file": "\(identity.files.privateKey)"])
    }
    remind(of: certificate, &reminder, at: now)
  }

  private func remind(of certificate: ServerCertificate, _ reminder: inout CertificateReminder, at now: Date) {
    guard let warning = reminder.warning(about: certificate, at: now) else { return }
    logger.warning(
      "\(warning)",
      metadata: [
        "file": "\(identity.files.certificateChain)", "subject": "\(certificate.subject)",
        "serial": "\(certificate.serial)", "not_before": "\(certificate.notBefore.formatted(.iso8601))",
        "not_after": "\(certificate.notAfter.formatted(.iso8601))",
      ])
  }
}
