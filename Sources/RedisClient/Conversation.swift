// The state of one conversation, with no I/O and no clock: the commands that wait for a reply, their deadlines, and the
// meaning of received bytes. The channel handler calls it and carries out the returned actions.
//
// A conversation has one rule that everything else depends on: replies come in the order of the commands. So after a
// late, unreadable or unexpected reply, it is uncertain which command a later reply belongs to. (A wrapper of hiredis
// that continued after a time-out returned one command's reply for the next command.) Therefore every failure is final:
// `fail` ends the conversation, all waiting commands fail with an unknown outcome, and a caller that wants to continue
// opens a new connection.

import DequeModule
import Hiredis
import NIOCore

extension RedisReply {
  fileprivate var asError: RedisServerError? { if case .error(let error) = self { error } else { nil } }
}

struct Conversation<Waiter>: ~Copyable {
  /// One command, or several that were sent together and are answered together.
  private struct Exchange {
    let command: String
    let deadline: NIODeadline
    let expected: Int
    let bytes: Int
    var replies: [RedisReply] = []
    /// The size of the replies so far.
    var size = (elements: 0, bytes: 0)
    let waiter: Waiter
  }

  /// What the caller must do next.
  enum Action {
    /// All replies of an exchange have arrived.
    case answer(Waiter, [RedisReply])
    /// The conversation has ended: close the channel and fail these.
    case end(RedisError, [Waiter])
  }

  private var reader: ReplyReader
  private var waiting: Deque<Exchange> = []
  private var over: RedisError?
  private var hasSent = false
  private var waitingBytes = 0
  /// Limits of one reply, and of all replies to one exchange together: these are kept until the last one has arrived.
  private let limits: ReplyLimits
  private let waitingLimit: Int
  private let waitingBytesLimit: Int

  init(limits: ReplyLimits, waitingLimit: Int, waitingBytesLimit: Int) {
    reader = ReplyReader(limits: limits)
    self.limits = limits
    self.waitingLimit = waitingLimit
    self.waitingBytesLimit = waitingBytesLimit
  }

  /// Why the conversation ended; nil if it hasn't ended.
  var ended: RedisError? { over }

  /// The first reply to the first waiting exchange, if it is an error. The server may have sent it before it received a
  /// command.
  var firstError: RedisServerError? { waiting.first?.replies.first?.asError }

  /// Whether no command waits for a reply.
  var isIdle: Bool { waiting.isEmpty }

  /// The earliest deadline of the waiting exchanges; nil if none waits. Deadlines may differ, so it isn't always that
  /// of the oldest exchange.
  var nextDeadline: NIODeadline? { waiting.lazy.map(\.deadline).min() }

  /// Records that a command is about to be sent.
  /// - Parameters:
  ///   - expected: The number of replies to it, at least 1.
  ///   - bytes: The number of bytes to send.
  /// - Throws: If it must not be sent. Then nothing was recorded.
  mutating func willSend(
    _ command: String, expecting expected: Int, bytes: Int, now: NIODeadline, deadline: NIODeadline, waiter: Waiter
  ) throws(RedisError) {
    precondition(expected > 0, "\(command) expects no reply: it would take the next command's")
    if let over { throw over.with(outcome: .notSent) }
    // If it were sent, it would be late at once, and all other commands on this connection would fail with it.
    guard now < deadline else { throw RedisError(.deadlineExceeded(command: command), outcome: .notSent) }
    guard waiting.count < waitingLimit else {
      throw RedisError(.tooMuchWaiting(limit: "\(waitingLimit) commands"), outcome: .notSent)
    }
    guard waiting.isEmpty || bytes <= waitingBytesLimit - waitingBytes else {
      throw RedisError(.tooMuchWaiting(limit: "\(waitingBytesLimit) bytes"), outcome: .notSent)
    }
    hasSent = true
    waitingBytes += bytes
    waiting.append(Exchange(command: command, deadline: deadline, expected: expected, bytes: bytes, waiter: waiter))
  }

  /// Processes received bytes.
  mutating func received(_ bytes: UnsafeRawBufferPointer) -> [Action] {
    guard over == nil else { return [] }
    var actions: [Action] = []
    do throws(ReplyError) {
      try reader.feed(bytes)
      while let reply = try reader.next() {
        guard !waiting.isEmpty else {
          // A server that can't accept another client sends an error at once.
          actions.append(fail(hasSent ? .unasked : reply.asError.map { .turnedAway($0) } ?? .unasked))
          return actions
        }
        waiting[0].replies.append(reply)
        // The reader checks the size of a single reply.
        if waiting[0].expected > 1 {
          waiting[0].size.elements += reader.lastSize.elements
          waiting[0].size.bytes += reader.lastSize.bytes
          guard waiting[0].size.elements <= limits.elements, waiting[0].size.bytes <= limits.bytes else {
            let why =
              "the replies to \(waiting[0].command) have more than \(limits.elements) elements or \(limits.bytes) bytes together"
            actions.append(fail(.unreadable(.overLimit(why))))
            return actions
          }
        }
        if waiting[0].replies.count == waiting[0].expected {
          let exchange = waiting.removeFirst()
          waitingBytes -= exchange.bytes
          actions.append(.answer(exchange.waiter, exchange.replies))
        }
      }
    } catch {
      actions.append(fail(.unreadable(error)))
    }
    return actions
  }

  /// Checks whether a reply is late.
  mutating func timePassed(to now: NIODeadline) -> Action? {
    guard over == nil, let late = waiting.first(where: { $0.deadline <= now }) else { return nil }
    return fail(.deadlineExceeded(command: late.command))
  }

  /// Ends the conversation. If it has already ended, the first reason stays.
  mutating func fail(_ reason: RedisError.Reason) -> Action {
    let error = over ?? RedisError(reason, outcome: .unknown)
    over = error
    let waiters = waiting.map(\.waiter)
    waiting.removeAll()
    waitingBytes = 0
    return .end(error, waiters)
  }
}
