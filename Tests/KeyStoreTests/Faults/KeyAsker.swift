// Asks a mirror for verdicts without a pause, from before a fault until after it, and records them. It asks for keys
// whose right verdict is known: keys that are active in the store all the time, and keys that never existed.

import KeyReplica
import Logging
import NIOCore
import Synchronization

@testable import KeyStore

/// A stream of questions to one mirror, and the record of its answers, its status and its log.
final class KeyAsker: Sendable {
  enum Phase: CaseIterable { case before, during, after }

  /// A status that isn't the one before.
  struct Sign {
    let at: Instant
    /// Complete, at the store's version, and nothing stands in the way of refusals.
    let isWell: Bool
    let text: String
  }

  struct Record {
    var phase = Phase.before
    /// How many verdicts on active keys.
    var answers: [Phase: Int] = [:]
    /// Why keys that were active all the time weren't admitted.
    var undecided: [String: Int] = [:]
    /// The same of keys that had become active a moment before.
    var undecidedAtFirst: [String: Int] = [:]
    /// Active keys that were refused: what must never be.
    var wrongCount = 0
    /// The first of them.
    var wrong: [String] = []
    var strangers: [Phase: Int] = [:]
    /// Each with when it was heard: a read that was sent before a fault was mended may have been answered after it.
    var refusals: [(proof: Proof, heardAt: Instant)] = []
    var signs: [Sign] = []
    var log: [(at: Instant, text: String)] = []
    fileprivate var active: [String] = []
    fileprivate var always: [String] = []
    fileprivate var newcomers: [String] = []
    fileprivate var asksStrangers = true
  }

  private let state: Mutex<Record>
  private let driver: ReplicaDriver
  private let journal: Journal

  /// - Parameters:
  ///   - active: Keys that are active in the store from now on; some of them are asked for in each round.
  ///   - always: Those of them that are asked for in every round.
  init(_ driver: ReplicaDriver, journal: Journal, active: [String], always: [String]) {
    self.driver = driver
    self.journal = journal
    var record = Record()
    record.active = active
    record.always = always
    state = Mutex(record)
  }

  var record: Record {
    var record = state.withLock { $0 }
    record.log = journal.lines.withLock { $0 }
    return record
  }

  /// From now on these keys are active in the store as well.
  func include(_ keys: [String]) { state.withLock { $0.newcomers += keys } }

  func enter(_ phase: Phase) { state.withLock { $0.phase = phase } }

  func askStrangers(_ whether: Bool) { state.withLock { $0.asksStrangers = whether } }

  /// Asks until it is cancelled.
  func run() async throws {
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.askForActiveKeys() }
        group.addTask { try await self.askForStrangers() }
        group.addTask { try await self.watchStatus() }
        try await group.waitForAll()
      }
    } catch is CancellationError {}
  }

  /// The pace of the questions. Nothing waits for it.
  private func pause() async throws { try await Task.sleep(for: .milliseconds(2)) }

  private func askForActiveKeys() async throws {
    var round = 0
    while true {
      let (phase, known, newcomers) = state.withLock { record in
        let some = (0..<20).map { record.active[(round + $0) % record.active.count] }
        // One that the mirror doesn't know makes it ask for a proof, as a stranger does.
        return (record.phase, some + record.always, record.asksStrangers ? record.newcomers : [])
      }
      let keys = known + newcomers
      round += 20
      let answers = keys.map { driver.verdict(of: KeyID(secret: $0.utf8)) }
      for (index, (key, answer)) in zip(keys, answers).enumerated() {
        let verdict = try await answer.get()
        state.withLock { record in
          record.answers[phase, default: 0] += 1
          switch verdict {
          case .admit: break
          case .undecided(let why) where index < known.count: record.undecided[why.code, default: 0] += 1
          case .undecided(let why): record.undecidedAtFirst[why.code, default: 0] += 1
          case .refuse(let reason, let proof):
            record.wrongCount += 1
            if record.wrong.count < 5 { record.wrong.append("\(key), \(reason.rawValue), \(proof)") }
          }
        }
      }
      try await pause()
    }
  }

  private func askForStrangers() async throws {
    var number = 0
    while true {
      let (phase, asks) = state.withLock { ($0.phase, $0.asksStrangers) }
      if asks {
        number += 1
        let verdict = try await driver.verdict(of: KeyID(secret: "stranger \(number)".utf8)).get()
        state.withLock { record in
          record.strangers[phase, default: 0] += 1
          switch verdict {
          case .admit: record.wrong.append("a stranger was admitted")
          case .undecided: break
          case .refuse(_, let proof): record.refusals.append((proof, .now))
          }
        }
      }
      try await pause()
    }
  }

  private func watchStatus() async throws {
    var last = ""
    while true {
      let status = try await driver.status().get()
      let isBehind = (status.storeVersion ?? 0) > status.version
      let objection = status.objection.map { "\($0.code): \($0)" } ?? "no objection"
      let text = "\(status.completeness.state.rawValue), \(objection)" + (isBehind ? ", behind the store" : "")
      if text != last {
        let isWell = status.completeness.state == .complete && status.objection == nil && !isBehind
        state.withLock { $0.signs.append(Sign(at: .now, isWell: isWell, text: text)) }
        last = text
      }
      try await pause()
    }
  }
}

/// What a mirror logs, with the time.
final class Journal: Sendable {
  fileprivate let lines = Mutex<[(at: Instant, text: String)]>([])

  var logger: Logger { Logger(label: "mirror") { _ in Handler(journal: self) } }

  private struct Handler: LogHandler {
    let journal: Journal
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let reason = event.metadata?["reason"].map { ": \($0)" } ?? ""
      journal.lines.withLock { $0.append((.now, "\(event.message)\(reason)")) }
    }
  }
}
