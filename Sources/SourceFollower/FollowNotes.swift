// What a follower says in its log: each problem once, and its end.

import Logging
import Synchronization

/// Says what changes, and nothing twice.
final class FollowNotes: Sendable {
  private let logger: Logger
  private let problems = Mutex<[Subject: String]>([:])

  /// What a problem is about; each has one at a time.
  enum Subject: Sendable, Hashable {
    case session, comparison, confirmation, rows
  }

  init(_ logger: Logger) { self.logger = logger }

  func problem(_ subject: Subject, _ text: String) {
    let isNew = problems.withLock { problems in
      defer { problems[subject] = text }
      return problems[subject] != text
    }
    if isNew { logger.warning("\(text)") }
  }

  /// - Parameter text: Said if there was a problem.
  func resolved(_ subject: Subject, _ text: String) {
    if problems.withLock({ $0.removeValue(forKey: subject) }) != nil { logger.notice("\(text)") }
  }

  func notice(_ text: String) { logger.notice("\(text)") }
}
