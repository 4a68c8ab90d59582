// What clients did and heard, and what the sink says of it. It knows nothing of faults: what it holds must be true whatever happened.
//
// Each body is one of its kind, so its digest tells which attempt a row comes from. The id of a 202 tells which row it must be. All of it
// stays in memory for the whole run: a row that comes up ten rounds later must still be one that was attempted. On disk the same is
// kept as text, for whoever looks into a failure.

import Crypto
import Foundation
import Synchronization

/// The first half of a body's SHA-256.
struct BodyDigest: Hashable, Sendable, CustomStringConvertible {
  private let high: UInt64
  private let low: UInt64

  init(_ bytes: some DataProtocol) {
    let hash = Array(SHA256.hash(data: bytes))
    high = hash[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
    low = hash[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
  }

  var description: String { String(format: "%016lx%016lx", high, low) }
}

/// The acknowledged pushes, to be compared with the stored payloads.
final class Ledger: Sendable {
  /// A body that was sent, once or more often.
  private struct Attempted {
    /// How often it was sent; with an idempotency key all of them are one.
    var times = 0
    let isIdempotent: Bool
    let account: String
    var rows = 0
  }

  /// A 202.
  private struct Acknowledgement {
    let digest: BodyDigest
    let node: String
    let at: Date
  }

  private struct State {
    var attempted: [BodyDigest: Attempted] = [:]
    /// Of this round, by id.
    var acknowledged: [UUID: Acknowledgement] = [:]
    /// The ids that idempotent bodies were acknowledged under.
    var idOfIdempotent: [BodyDigest: UUID] = [:]
    /// Of this round, by id.
    var stored: [UUID: BodyDigest] = [:]
    var violations: [String] = []
    var violationCount = 0

    /// Keeps the first of them.
    mutating func note(_ violation: String) {
      violationCount += 1
      if violations.count < 50 { violations.append(violation) }
    }
  }

  private let state = Mutex(State())
  private let attempts: FileHandle
  private let acknowledgements: FileHandle

  init(in folder: URL) throws {
    attempts = try Self.file(folder.appending(path: "attempts.txt"))
    acknowledgements = try Self.file(folder.appending(path: "acknowledged.txt"))
  }

  private static func file(_ url: URL) throws -> FileHandle {
    try Data().write(to: url)
    return try FileHandle(forWritingTo: url)
  }

  // MARK: What clients say

  /// Before a body is sent.
  func attempt(_ digest: BodyDigest, account: String, isIdempotent: Bool) {
    state.withLock { state in
      state.attempted[digest, default: Attempted(isIdempotent: isIdempotent, account: account)].times += 1
      write("\(digest) \(account) \(isIdempotent ? "idempotent" : "plain")\n", to: attempts, &state)
    }
  }

  /// A 202 with this id came for the body.
  func acknowledge(_ text: String, _ digest: BodyDigest, by node: String) {
    state.withLock { state in
      guard let id = UUID(uuidString: text) else {
        return state.note("a 202 with the id \"\(text)\", which is no UUID")
      }
      let now = Date.now
      write("\(id) \(digest) \(node) \(now.timeIntervalSince1970)\n", to: acknowledgements, &state)
      if let other = state.acknowledged[id]?.digest, other != digest {
        state.note("the id \(id) was given to two bodies: \(digest) and \(other)")
      }
      state.acknowledged[id] = state.acknowledged[id] ?? Acknowledgement(digest: digest, node: node, at: now)
      guard state.attempted[digest]?.isIdempotent == true else { return }
      if let other = state.idOfIdempotent[digest], other != id {
        state.note("body \(digest) was sent twice with one Idempotency-Key, and acknowledged as \(other) and as \(id)")
      }
      state.idOfIdempotent[digest] = id
    }
  }

  /// Something happened that must never happen.
  func violation(_ what: String) { state.withLock { $0.note(what) } }

  private func write(_ line: String, to file: FileHandle, _ state: inout State) {
    do {
      try file.write(contentsOf: Data(line.utf8))
    } catch {
      state.note("the ledger can't be written: \(error)")
    }
  }

  // MARK: What the sink says

  /// A row of the sink that wasn't there before.
  func stored(id text: String, account: String, _ digest: BodyDigest) {
    state.withLock { state in
      guard let id = UUID(uuidString: text) else { return state.note("a row with the id \"\(text)\"") }
      guard var attempted = state.attempted[digest] else {
        return state.note("row \(id) of \(account) has a body that nobody sent: \(digest)")
      }
      attempted.rows += 1
      state.attempted[digest] = attempted
      if account != attempted.account {
        state.note("row \(id) is of \(account), but its body was sent by \(attempted.account)")
      }
      if attempted.rows > (attempted.isIdempotent ? 1 : attempted.times) {
        state.note(
          "body \(digest) is stored \(attempted.rows) times, but was sent "
            + (attempted.isIdempotent ? "with one Idempotency-Key" : "\(attempted.times) times"))
      }
      if state.stored.updateValue(digest, forKey: id) != nil { state.note("row \(id) is there twice") }
    }
  }

  /// The ids that were acknowledged in this round and aren't stored, or not with the body that was sent.
  var missing: [String] {
    state.withLock { state in
      state.acknowledged.compactMap { id, acknowledgement in
        let stored = state.stored[id]
        guard stored != acknowledgement.digest else { return nil }
        let at = acknowledgement.at.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        let what = "\(id), acknowledged by \(acknowledgement.node) at \(at)"
        guard let stored else { return "\(what): not stored" }
        return "\(what): stored with the body \(stored), but \(acknowledgement.digest) was sent"
      }
    }
  }

  /// Acknowledged in this round.
  var acknowledgedCount: Int { state.withLock { $0.acknowledged.count } }
  /// How often something happened that must not.
  var violationCount: Int { state.withLock { $0.violationCount } }
  /// The first of them, in words.
  var violations: [String] { state.withLock { $0.violations } }

  /// All acknowledged payloads were found; the next round begins.
  func beginRound() {
    state.withLock { state in
      state.acknowledged.removeAll(keepingCapacity: true)
      state.stored.removeAll(keepingCapacity: true)
      state.idOfIdempotent.removeAll(keepingCapacity: true)
    }
  }
}
