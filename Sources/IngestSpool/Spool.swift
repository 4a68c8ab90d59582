// Stores payloads on this node's disk while Redis is unreachable, before they are acknowledged. Group commit, as in the
// queue: payloads that arrive while the disk is busy go into the next transaction, and one fsync answers all of them.
// One thread does everything that touches the file, so that no event loop ever waits for a disk.
//
// Accepted payloads are never dropped. When a limit is reached (bytes, age, the disk, the thread's deadline), the next
// payload isn't accepted and is answered 503.

internal import Foundation
internal import IngestQueue
public import Logging
public import NIOCore
internal import NIOPosix
internal import Synchronization

/// A bounded store of payloads on this node's disk.
public final class Spool: Sendable {
  private struct Waiting {
    let element: ByteBuffer
    let answer: SpoolAnswer
  }

  private struct State {
    var waiting: [Waiting] = []
    /// Bytes of the payloads that wait or are being written.
    var waitingBytes = 0
    var isCommitting = false
    var contents: SpoolContents
    /// Bytes by account that this process accepted since the spool was last empty.
    var accounts: [String: Int] = [:]
    /// The error of the last payload that wasn't accepted; nil once one is accepted again, or some were drained.
    var objection: SpoolFailure?
    var isClosed = false
    var taken: UInt64 = 0
    var drained: UInt64 = 0
  }

  /// The part of the file that the drain has read.
  private struct Reading {
    var turns = SpoolTurns(largestTogether: EnqueueError.alwaysTakenBytes)
    /// All rows up to this number were added to the turns.
    var last: Int64 = 0
  }

  /// Maximum to read at one time, so that writes don't wait for long.
  private static let readAtOnce = (entries: 10_000, bytes: 64 << 20)

  public let limits: SpoolLimits
  private let file: SpoolFile
  private let thread: NIOThreadPool
  private let now: @Sendable () -> Int64
  private let logger: Logger
  private let state: Mutex<State>
  private let reading = Mutex(Reading())

  /// Opens the spool, which blocks while all of it is checked.
  /// - Parameters:
  ///   - folder: Used by this process only. It is created if it doesn't exist.
  ///   - now: Milliseconds since 1970.
  /// - Throws: If the spool is damaged, another process uses it, or it can't be written.
  public init(
    folder: String, limits: SpoolLimits = SpoolLimits(), logger: Logger,
    now: @escaping @Sendable () -> Int64 = Spool.wallTime
  ) throws(UnusableSpool) {
    self.limits = limits
    self.logger = logger
    self.now = now
    file = try SpoolFile(folder: folder)
    let contents: SpoolContents
    do throws(SpoolFailure) { contents = try file.contents() } catch { throw UnusableSpool("\(file.path): \(error)") }
    state = Mutex(State(contents: contents))
    thread = NIOThreadPool(numberOfThreads: 1)
    thread.start()
    if contents.entries > 0 {
      logger.notice(
        "spool has payloads from an earlier run",
        metadata: ["payloads": "\(contents.entries)", "bytes": "\(contents.bytes)"])
    }
    if contents.setAside > 0 {
      logger.error(
        "spooled payloads set aside, because Redis rejects them. Stop the node, then: sync-status spool list FOLDER",
        metadata: ["payloads": "\(contents.setAside)", "bytes": "\(contents.setAsideBytes)"])
    }
  }

  /// Milliseconds since 1970.
  public static let wallTime: @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970 * 1_000) }

  // MARK: Storing

  /// Stores a payload. The future succeeds once it is on disk, and fails only with ``SpoolFailure``, within the limits'
  /// deadline.
  /// - Parameters:
  ///   - element: An element of the queue: the line, and the payload behind it.
  ///   - account: The payload's account.
  ///   - eventLoop: The future's event loop.
  public func append(_ element: ByteBuffer, of account: String, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
    let answer = SpoolAnswer(within: limits.deadline, on: eventLoop)
    let time = now()
    let (objection, begins) = state.withLock { state -> (SpoolFailure?, Bool) in
      if let objection = self.objection(to: element.readableBytes, of: account, at: time, state) {
        return (objection, false)
      }
      state.accounts[account, default: 0] += element.readableBytes
      state.waiting.append(Waiting(element: element, answer: answer))
      state.waitingBytes += element.readableBytes
      defer { state.isCommitting = true }
      return (nil, !state.isCommitting)
    }
    if let objection {
      note(objection)
      answer.give(objection)
    } else if begins {
      commitOnThread()
    }
    return answer.future
  }

  private func objection(to bytes: Int, of account: String, at time: Int64, _ state: State) -> SpoolFailure? {
    if state.isClosed { return .closed }
    if case .damaged? = state.objection { return state.objection }
    let all = state.contents.bytes + state.contents.setAsideBytes + state.waitingBytes + bytes
    guard all <= limits.bytes else { return .full(bytes: limits.bytes) }
    // As in the queue: the last fifth is reserved for accounts with less than an eighth of the spool.
    let own = state.accounts[account, default: 0]
    if all > limits.bytes / 5 * 4, own > 0, own + bytes > limits.bytes / 8 { return .accountFull }
    if let oldestAt = state.contents.oldestAt, .milliseconds(time - oldestAt) > limits.age {
      return .tooOld(limit: limits.age)
    }
    guard state.waiting.isEmpty || state.waitingBytes + bytes <= limits.waitingBytes,
      state.waiting.count < limits.waitingEntries
    else { return .busy }
    return nil
  }

  private func commitOnThread() {
    thread.submit { state in
      switch state {
      case .active: if self.commit() { self.commitOnThread() }
      case .cancelled: break  // `close` has committed all.
      }
    }
  }

  /// Writes the waiting payloads that fit into one transaction. Runs on the thread.
  /// - Returns: Whether more payloads wait. A waiting drain goes first.
  private func commit() -> Bool {
    let batch = state.withLock { takeBatch(&$0) }
    guard !batch.isEmpty else { return false }
    let time = now()
    var failure: SpoolFailure?
    do throws(SpoolFailure) { try file.append(batch.map(\.element), at: time) } catch { failure = error }
    let bytes = batch.reduce(0) { $0 + $1.element.readableBytes }
    let (begins, goesOn) = state.withLock { state in
      let begins = failure == nil && state.contents.entries == 0
      state.waitingBytes -= bytes
      if failure == nil {
        state.contents.entries += batch.count
        state.contents.bytes += bytes
        state.contents.oldestAt = state.contents.oldestAt ?? time
        state.taken += UInt64(batch.count)
        state.objection = nil
      }
      state.isCommitting = !state.waiting.isEmpty
      return (begins, state.isCommitting)
    }
    if let failure { note(failure) }
    if begins { logger.warning("spooling payloads to disk", metadata: ["file": "\(file.path)"]) }
    for waiting in batch { waiting.answer.give(failure) }
    return goesOn
  }

  private func takeBatch(_ state: inout State) -> [Waiting] {
    var count = 0
    var bytes = 0
    for waiting in state.waiting.prefix(limits.entriesPerCommit) {
      bytes += waiting.element.readableBytes
      if count > 0, bytes > limits.bytesPerCommit { break }
      count += 1
    }
    defer { state.waiting.removeFirst(count) }
    if count == 0 { state.isCommitting = false }
    return Array(state.waiting.prefix(count))
  }

  /// Keeps the error, and logs it once.
  private func note(_ objection: SpoolFailure) {
    switch objection {
    // These errors pass soon, or belong to the shutdown.
    case .busy, .late, .closed, .accountFull: return
    case .full, .tooOld, .noRoom, .damaged, .failed: break
    }
    let isNews = state.withLock { state in
      defer { state.objection = objection }
      return state.objection != objection
    }
    guard isNews else { return }
    logger.error(
      "spool can't store payloads: pushes are answered 503 while Redis is unreachable",
      metadata: ["reason": "\(objection)"])
  }

  // MARK: Draining

  /// The next payloads by turns. No other call returns them until they are removed or put back.
  /// - Returns: None if none is left, or if all accounts with payloads left are resting.
  func next(entries: Int) async throws -> [SpooledPayload] {
    try await onThread { spool in
      try spool.reading.withLock { reading in
        try spool.readOn(&reading)
        let items = reading.turns.deal(entries: entries, bytes: spool.limits.bytesPerCommit)
        do {
          return try spool.file.payloads(items)
        } catch {
          reading.turns.putBack(items)
          throw error
        }
      }
    }
  }

  private func readOn(_ reading: inout Reading) throws {
    let room = limits.entriesInTurns - reading.turns.count
    guard room > 0 else { return }
    let items = try file.items(
      after: reading.last, entries: min(room, Self.readAtOnce.entries), bytes: Self.readAtOnce.bytes)
    for item in items { reading.turns.append(item) }
    if let last = items.last { reading.last = last.number }
  }

  /// Puts back payloads that weren't pushed, in front of their accounts' other payloads.
  /// - Parameters:
  ///   - payloads: In the order in which they were handed out.
  ///   - rests: If true, these accounts get no turn until ``wake()``.
  func putBack(_ payloads: [SpooledPayload], rests: Bool = false) {
    reading.withLock { $0.turns.putBack(payloads.map(\.item), rests: rests) }
  }

  /// Hands out payloads of all accounts again.
  func wake() { reading.withLock { $0.turns.wake() } }

  /// Removes payloads that are in the queue.
  func remove(_ payloads: [SpooledPayload]) async throws {
    // The state in memory is changed on the thread too, so that it follows the file step by step.
    try await onThread { spool in
      spool.hasRemoved(payloads, oldestAt: try spool.file.remove(payloads.map(\.number)))
    }
  }

  /// Keeps a payload that the queue can't accept, and no longer hands it out. If the disk can't record that, it is
  /// effective until the process ends.
  func setAside(_ payload: SpooledPayload, _ reason: String) async {
    let time = now()
    do {
      try await onThread { spool in
        let oldestAt = try spool.file.setAside(payload.number, reason, at: time)
        spool.hasSetAside(payload) { $0.contents.oldestAt = oldestAt }
      }
    } catch {
      hasSetAside(payload) { _ in }
    }
  }

  private func hasSetAside(_ payload: SpooledPayload, _ change: (inout State) -> Void) {
    state.withLock { state in
      state.contents.entries -= 1
      state.contents.bytes -= payload.element.count
      state.contents.setAside += 1
      state.contents.setAsideBytes += payload.element.count
      if state.contents.entries == 0 {
        state.accounts = [:]
        state.contents.oldestAt = nil
      }
      change(&state)
    }
  }

  private func onThread<Value: Sendable>(_ body: @escaping @Sendable (Spool) throws -> Value) async throws -> Value {
    do {
      return try await thread.runIfActive { try body(self) }
    } catch {
      if let failure = error as? SpoolFailure { note(failure) }
      throw error
    }
  }

  private func hasRemoved(_ payloads: [SpooledPayload], oldestAt: Int64?) {
    state.withLock { state in
      state.contents.entries -= payloads.count
      if state.contents.entries == 0 { state.accounts = [:] }
      state.contents.bytes -= payloads.reduce(0) { $0 + $1.element.count }
      state.contents.oldestAt = oldestAt
      state.drained += UInt64(payloads.count)
      if case .damaged? = state.objection { return }
      state.objection = nil
    }
  }

  // MARK: Figures

  public var figures: SpoolFigures {
    let time = now()
    return state.withLock { state in
      let age = state.contents.oldestAt.map { max(0, Double(time - $0) / 1_000) }
      return SpoolFigures(
        entries: state.contents.entries, bytes: state.contents.bytes, oldestSeconds: age, objection: state.objection,
        setAside: state.contents.setAside, setAsideBytes: state.contents.setAsideBytes,
        taken: state.taken, drained: state.drained)
    }
  }

  /// Accepts nothing more, and releases the folder once all accepted payloads are on disk.
  /// - Returns: How many payloads are left in it, for the next process.
  /// - Throws: ``SpoolFailure``. After ``SpoolFailure/late``, the folder is released when the disk answers or the
  ///   process ends.
  public func close() async throws -> Int {
    state.withLock { $0.isClosed = true }
    let answer = SpoolAnswer(within: limits.closeDeadline, on: MultiThreadedEventLoopGroup.singleton.any())
    thread.submit { state in
      guard case .active = state else { return answer.give(.closed) }
      while self.commit() {}
      do throws(SpoolFailure) {
        try self.file.end()
        answer.give(nil)
      } catch {
        answer.give(error)
      }
      // Called here, so that it is the last step even if no caller waits any more. It fails only if it was called
      // before.
      self.thread.shutdownGracefully { _ in }
    }
    try await answer.future.get()
    return figures.entries
  }
}
