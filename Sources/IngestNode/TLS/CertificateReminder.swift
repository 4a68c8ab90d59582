// When a certificate that ends is worth a line in the log. It comes in time to do something about it, and again each day, since
// the one line among a week's others wasn't read. It reads no clock.

import Foundation

/// Decides when to say that a certificate ends, has ended, or hasn't begun.
struct CertificateReminder {
  /// Fewer than these days are worth a warning. Authorities that renew by themselves do so at 30 days or at a third of the
  /// time, so by then something is broken.
  static let days = 14

  private static let day = TimeInterval(86_400)
  private var reminded: Date?

  /// - Returns: What to warn of, at most once a day.
  mutating func warning(about certificate: ServerCertificate, at now: Date) -> String? {
    let warning: String
    switch certificate.standing(at: now) {
    case .valid(let remaining) where remaining >= .seconds(Self.days * 86_400):
      reminded = nil
      return nil
    case .valid(let remaining):
      let days = Int(remaining.components.seconds / 86_400)
      warning = "the certificate ends in \(days == 0 ? "less than a day" : days == 1 ? "1 day" : "\(days) days")"
    case .expired: warning = "the certificate has expired: clients refuse it"
    case .notYetValid: warning = "the certificate isn't valid yet: clients refuse it"
    }
    // A clock that was set back must not silence it for long.
    if let reminded, (0..<Self.day).contains(now.timeIntervalSince(reminded)) { return nil }
    reminded = now
    return warning
  }

  /// Another certificate is served from now on.
  mutating func replaced() { reminded = nil }
}
