// The state of one conversation, with no I/O and no clock: what waits for an answer, until when, and what the bytes
// that come mean. The channel handler asks it what to do and does that.
//
// A conversation has one rule that everything else rests on: replies come in the order of the commands. So once an answer is
// late, unreadable or unasked for, nothing after it can be trusted to belong to its command (a wrapper of hiredis that went on
// after a time-out handed one command's reply to the next). Therefore every failure is final: `fail` ends the
// conversation, all that waits fails with an unknown outcome, and whoever wants to go on makes a new connection.

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
    /// Of the replies so far.
    var size = (elements: 0, bytes: 0)
    let waiter: Waiter
  }

  /// What the caller must do next.
  enum Action {
    /// All replies of an exchange are there.
    case answer(Waiter, [RedisReply])
    /// The conversation is over: close the channel and fail these.
    case end(RedisError, [Waiter])
  }

  private var reader: ReplyReader
  private var waiting: Deque<Exchange> = []
  private var over: RedisError?
  private var hasSent = false
  private var waitingBytes = 0
  /// Of one reply, and of all replies to one exchange together: they are kept until the last has come.
  private let limits: ReplyLimits
  private let waitingLimit: Int
  private let waitingBytesLimit: Int

  init(limits: ReplyLimits, waitingLimit: Int, waitingBytesLimit: Int) {
    reader = ReplyReader(limits: limits)
    self.limits = limits
    self.waitingLimit = waitingLimit
    self.waitingBytesLimit = waitingBytesLimit
  }

  /// Why the conversation ended, or nil while it goes on.
  var ended: RedisError? { over }

  /// The first reply to what waits, where it is an error: it may have been said before anything was asked.
  var firstError: RedisServerError? { waiting.first?.replies.first?.asError }

  /// Whether nothing waits for an answer.
  var isIdle: Bool { waiting.isEmpty }

  /// The moment at which the first of the waiting exchanges is late, or nil while nothing waits. Commands with different
  /// deadlines may wait side by side, so it needn't be the oldest one's.
  var nextDeadline: NIODeadline? { waiting.lazy.map(\.deadline).min() }

  /// Notes that a command is about to be sent.
  /// - Parameters:
  ///   - expected: How many replies answer it, at least 1.
  ///   - bytes: What will be sent.
  /// - Throws: where it must not be sent; nothing was noted then.
  mutating func willSend(
    _ command: String, expecting expected: Int, bytes: Int, now: NIODeadline, deadline: NIODeadline, waiter: Waiter
  ) throws(RedisError) {
    precondition(expected > 0, "\(command) expects no reply: it would take the next command's")
    if let over { throw over.with(outcome: .notSent) }
    // Sent nevertheless, it would be late at once and take down all that waits on this connection.
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

  /// Takes bytes of the stream.
  mutating func received(_ bytes: UnsafeRawBufferPointer) -> [Action] {
    guard over == nil else { return [] }
    var actions: [Action] = []
    do throws(ReplyError) {
      try reader.feed(bytes)
      while let reply = try reader.next() {
        guard !waiting.isEmpty else {
          // A server that can't take another client says so at once.
          actions.append(fail(hasSent ? .unasked : reply.asError.map { .turnedAway($0) } ?? .unasked))
          return actions
        }
        waiting[0].replies.append(reply)
        // The reader sees to one reply by itself.
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

  /// Looks whether an answer is late.
  mutating func timePassed(to now: NIODeadline) -> Action? {
    guard over == nil, let late = waiting.first(where: { $0.deadline <= now }) else { return nil }
    return fail(.deadlineExceeded(command: late.command))
  }

  /// Ends the conversation. The first reason stays.
  mutating func fail(_ reason: RedisError.Reason) -> Action {
    let error = over ?? RedisError(reason, outcome: .unknown)
    over = error
    let waiters = waiting.map(\.waiter)
    waiting.removeAll()
    waitingBytes = 0
    return .end(error, waiters)
  }
}
