// A follower's log messages: one message when a problem begins or changes, and one message when the problem is over.

import Logging
import Synchronization

/// Logs the problems of a follower. A problem that goes on is logged only once.
final class FollowNotes: Sendable {
  private let logger: Logger
  private let problems = Mutex<[Subject: String]>([:])

  /// The subject of a problem. Each subject has at most one problem at a time.
  enum Subject: Sendable, Hashable {
    case session, comparison, confirmation, rows, damage
  }

  init(_ logger: Logger) { self.logger = logger }

  func problem(_ subject: Subject, _ text: String) {
    let isNew = problems.withLock { problems in
      defer { problems[subject] = text }
      return problems[subject] != text
    }
    if isNew { logger.warning("\(text)") }
  }

  /// Ends a subject's problem.
  /// - Parameter text: Logged only if the subject had a problem.
  func resolved(_ subject: Subject, _ text: String) {
    if problems.withLock({ $0.removeValue(forKey: subject) }) != nil { logger.notice("\(text)") }
  }

  /// Logs an event that is no lasting problem.
  func warning(_ text: String) { logger.warning("\(text)") }

  func notice(_ text: String) { logger.notice("\(text)") }
}
