import Foundation

/// Progress on standard error: a bar that is redrawn on a terminal, or a line every few seconds.
struct Progress {
  private let verb: String
  private let total: Int?
  private let unit: String
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let started = ContinuousClock.now
  private var lastShown: ContinuousClock.Instant?
  private var done = 0

  init(_ verb: String, total: Int?, unit: String = "keys") {
    self.verb = verb
    self.total = total
    self.unit = unit
  }

  mutating func update(_ done: Int) {
    self.done = done
    let now = ContinuousClock.now
    if now - (lastShown ?? started) < (isTerminal ? .milliseconds(100) : .seconds(5)) { return }
    lastShown = now
    show(now)
  }

  /// Shows the last line, unless none was shown before and the work was short.
  mutating func finish() {
    let now = ContinuousClock.now
    if lastShown == nil, now - started < .seconds(1) { return }
    show(now)
    if isTerminal { write("\n") }
  }

  private func show(_ now: ContinuousClock.Instant) {
    let elapsed = max(
      Double((now - started).components.attoseconds) / 1e18 + Double((now - started).components.seconds), 0.001)
    let rate = Double(done) / elapsed
    var line = "\(verb) \(done)"
    if let total {
      let share = total == 0 ? 1 : Double(done) / Double(total)
      line += " of \(total) \(unit), \(Int(share * 100))%"
      if isTerminal {
        let filled = Int(share * 30)
        line = "[" + String(repeating: "=", count: filled) + String(repeating: " ", count: 30 - filled) + "] " + line
      }
      line += ", \(Int(rate))/s"
      if rate > 0, done < total { line += ", \(Int((Double(total - done) / rate).rounded(.up))) s left" }
    } else {
      line += " \(unit), \(Int(rate))/s"
    }
    write(isTerminal ? "\r\u{1b}[K" + line : line + "\n")
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
