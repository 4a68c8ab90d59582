// How large a payload the Redis takes that it is pushed to. Two of Redis's limits are on one element of a command:
//
// - `proto-max-bulk-len`, 512 MiB by default: Redis answers "ERR Protocol error: invalid bulk length" and closes the
//   connection. Since it does so before it has read the payload, the answer is often lost with the connection.
// - `client-query-buffer-limit`, 1 GiB by default: Redis closes the connection without an answer.
//
// Two more are on what a connection holds: `maxmemory-clients`, beyond which Redis closes the connections that hold
// most, and `client-output-buffer-limit`, beyond which it closes a worker's while that is handed the payload.
//
// They are read with CONFIG, and a payload that is too large is refused before it is sent. Where CONFIG is forbidden,
// they are met: a failure is certain where the answer came; a connection that closed may as well mean that Redis ended,
// and only another one soon tells. What was learned so is kept for a while, since each try costs a connection. Where
// the limits are known, a connection that closed says nothing of them. The first two can't be set to less than 1 MiB.
// Thus no smaller payload is ever suspected, and a batch of them always fits.

internal import Hiredis
internal import NIOCore
internal import RedisClient

/// What is known of how large a payload one Redis takes, in bytes, with the line before it.
struct ServerPayloadLimit {
  /// Read from Redis; nil where that can't be told.
  var told: Int? {
    // Somebody has changed the settings: what was learned under the old ones says nothing any more.
    didSet { if told != oldValue { (learned, closings) = (nil, Self.noClosings) } }
  }
  /// Learned from what Redis didn't take.
  private var learned: (limit: Int, until: NIODeadline)?
  /// The smallest payload with which the connection closed, how often it did with one as large or larger, and when
  /// last.
  private var closings = noClosings

  private static let noClosings = (bytes: Int.max, count: 0, last: NIODeadline.distantPast)

  /// After so many closed connections a payload counts as too large.
  private static let closingsOfTooLarge = 2
  /// For how long what was learned is relied on: somebody may have changed Redis's settings.
  private static let memory = TimeAmount.minutes(5)

  /// The largest payload that may be sent; nil where nothing is known.
  /// - Parameter size: The payload's, with the line before it.
  mutating func exceeded(by size: Int, now: @autoclosure () -> NIODeadline) -> Int? {
    guard size > EnqueueError.alwaysTakenBytes else { return nil }
    if let told, size > told { return told }
    guard let (limit, until) = learned else { return nil }
    if until < now() {
      learned = nil
      return nil
    }
    return size > limit ? limit : nil
  }

  /// Redis has taken one of this size.
  mutating func took(_ size: Int) {
    guard size > EnqueueError.alwaysTakenBytes else { return }
    if size >= closings.bytes { closings = Self.noClosings }
    if let limit = learned?.limit, size > limit { learned = nil }
  }

  /// Redis has said that it doesn't take one of this size.
  mutating func refused(_ size: Int, now: NIODeadline) {
    closings = Self.noClosings
    learned = (min(size - 1, learned?.limit ?? .max), now + Self.memory)
  }

  /// The connection closed on which one of this size was.
  mutating func closed(with size: Int, now: NIODeadline) {
    guard told == nil else { return }
    // Redis may be restarted at any time, and large payloads may be rare.
    if closings.last + Self.memory < now { closings = Self.noClosings }
    closings = (min(closings.bytes, size), closings.count + 1, now)
    if closings.count >= Self.closingsOfTooLarge { refused(closings.bytes, now: now) }
  }
}

// MARK: Reading

extension ServerPayloadLimit {
  /// What is read with CONFIG GET.
  static let settings = [
    "proto-max-bulk-len", "client-query-buffer-limit", "maxmemory-clients", "client-output-buffer-limit",
  ]

  /// A limit below this is said in the log: payloads that a node takes by default may be larger.
  static let worthSaying = 64 << 20

  /// - Parameter answers: To ``Durability/questions``.
  /// - Returns: nil where CONFIG can't be used.
  static func read(answers: [RedisReply]) -> Int? {
    // Why not is in what ``Durability`` makes of the same answer.
    guard let settings = try? Durability.settings(answers[0]) else { return nil }
    var limits: [Int] = []
    if let bulk = settings["proto-max-bulk-len"].flatMap({ Int($0) }), bulk > 0 { limits.append(bulk) }
    // The command's beginning, and what came of the next one, are in the same buffer.
    if let buffer = settings["client-query-buffer-limit"].flatMap({ Int($0) }), buffer > 0 {
      limits.append(buffer - min(buffer / 4, 256 << 10))
    }
    // A payload is there twice for a moment: as it came, and as the command's element.
    if let clients = settings["maxmemory-clients"] {
      let bytes =
        clients.hasSuffix("%")
        ? (Int(clients.dropLast()) ?? 0) * ((InfoFields(answers[1])?["maxmemory"].flatMap { Int($0) } ?? 0) / 100)
        : Int(clients) ?? 0
      if bytes > 0 { limits.append(bytes / 3) }
    }
    if let output = outputLimit(settings["client-output-buffer-limit"]) { limits.append(output) }
    return limits.min().map { max($0, EnqueueError.alwaysTakenBytes) }
  }

  /// How large a payload may be that is handed to a worker.
  /// - Parameter setting: As `normal 0 0 0 slave …`: of each class the hard limit, the soft one, and its seconds.
  private static func outputLimit(_ setting: String?) -> Int? {
    let words = setting?.split(separator: " ") ?? []
    guard let place = words.firstIndex(of: "normal"), words.count > place + 2 else { return nil }
    return words[place + 1...place + 2].compactMap { Int($0) }.filter { $0 > 0 }.min().map { $0 / 2 }
  }
}

extension EnqueueError {
  /// A payload of so many bytes, with the line before it, is within the limits of any Redis: half of the least that
  /// they can be set to, because a part of the command counts as well.
  public static let alwaysTakenBytes = 512 << 10

  /// Redis said that the payload is too large for it. It was alone in its command, or is smaller than what is in
  /// question.
  /// - Parameter bytes: The payload's, with the line before it.
  public func isTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .refused(let error) = self else { return false }
    return error.message.contains("invalid bulk length") || error.message.contains("exceeds maximum allowed size")
  }

  /// Redis closed the connection on which the payload was sent, as it does where the payload is too large for it, and
  /// when it ends.
  /// - Parameter bytes: The payload's, with the line before it.
  public func mayBeTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .unknownOutcome(let error) = self, case .closed = error.reason else {
      return false
    }
    return true
  }
}
