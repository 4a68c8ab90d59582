// The events of a round with their times: the first thing to read after a failure.

import Foundation
import Synchronization

/// Notes with their time since the round began.
final class Timeline: Sendable {
  private let began = ContinuousClock.now
  private let date = Date.now
  private let lines = Mutex<[String]>([])

  func note(_ what: String) {
    let at = ContinuousClock.now - began
    let milliseconds = Int(at / .milliseconds(1))
    let text = String(milliseconds)
    lines.withLock {
      $0.append("  +" + String(repeating: " ", count: max(6 - text.count, 0)) + text + " ms  " + what)
    }
  }

  var text: String {
    let beginning = date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    return "  begun \(beginning)\n" + lines.withLock { $0.joined(separator: "\n") }
  }
  var elapsed: Duration { ContinuousClock.now - began }
}
