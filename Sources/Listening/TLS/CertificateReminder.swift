// Decides when to log a warning about a certificate that expires soon: early enough to replace it, and again each day,
// because a single line can be missed among a week's others. It reads no clock.

import Foundation

/// Decides when to warn that a certificate expires soon, has expired, or isn't valid yet.
struct CertificateReminder {
  /// There is a warning if fewer days are left. Authorities that renew automatically do so at 30 days or at a third of
  /// the time, so by then something is broken.
  static let days = 14

  private static let day = TimeInterval(86_400)
  private var reminded: Date?

  /// - Returns: The warning, at most once a day.
  mutating func warning(about certificate: ServerCertificate, at now: Date) -> String? {
    let warning: String
    switch certificate.standing(at: now) {
    case .valid(let remaining) where remaining >= .seconds(Self.days * 86_400):
      reminded = nil
      return nil
    case .valid(let remaining):
      let days = Int(remaining.components.seconds / 86_400)
      warning = "the certificate expires in \(days == 0 ? "less than a day" : days == 1 ? "1 day" : "\(days) days")"
    case .expired: warning = "the certificate has expired: clients reject it"
    case .notYetValid: warning = "the certificate isn't valid yet: clients reject it"
    }
    // A clock that was set back must not suppress the warning for long.
    if let reminded, (0..<Self.day).contains(now.timeIntervalSince(reminded)) { return nil }
    reminded = now
    return warning
  }

  /// Another certificate is in use from now on.
  mutating func replaced() { reminded = nil }
}
