// The largest payload that the Redis of a shard accepts. Two of Redis's limits apply to one element of a command:
//
// - `proto-max-bulk-len`, 512 MiB by default: Redis answers "ERR Protocol error: invalid bulk length" and closes the
//   connection. Because it does so before it has read the payload, the reply is often lost with the connection.
// - `client-query-buffer-limit`, 1 GiB by default: Redis closes the connection without a reply.
//
// Two more apply to a connection's memory: `maxmemory-clients`, beyond which Redis closes the connections that use most
// memory, and `client-output-buffer-limit`, beyond which it closes a worker's connection while it sends the payload.
//
// The limits are read with CONFIG, and a payload that is too large is rejected before it is sent. If CONFIG is
// forbidden, the node learns a limit when a payload exceeds it. An error reply is certain. A closed connection may also
// mean that Redis ended; only a second closing shows the difference. The learned limit is kept for a while, because
// each try costs a connection. If the limits are known, a closed connection changes nothing. The first two limits are
// at least 1 MiB. So payloads of up to 512 KiB (`alwaysTakenBytes`) are never suspected, because the rest of the
// command counts as well, and a batch of such payloads always fits.

internal import Hiredis
internal import NIOCore
internal import RedisClient

/// The largest payload that one Redis accepts, as far as known, in bytes, with the line before it.
struct ServerPayloadLimit {
  /// Read from Redis; nil if unknown.
  var told: Int? {
    // The settings were changed: a limit that was learned under the old settings is no longer valid.
    didSet { if told != oldValue { (learned, closings) = (nil, Self.noClosings) } }
  }
  /// A limit learned from payloads that Redis didn't accept.
  private var learned: (limit: Int, until: NIODeadline)?
  /// The size of the smallest payload whose connection was closed; how often a connection was closed on a payload of
  /// that size or larger; and the time of the last closing.
  private var closings = noClosings

  private static let noClosings = (bytes: Int.max, count: 0, last: NIODeadline.distantPast)

  /// After this number of closed connections a payload counts as too large.
  private static let closingsOfTooLarge = 2
  /// How long a learned limit is used. Then it is tried again, because Redis's settings may have changed.
  private static let memory = TimeAmount.minutes(5)

  /// The largest payload that may be sent, if this one is larger; nil if it may be sent, or if the limit is unknown.
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

  /// Records that Redis accepted a payload of this size.
  mutating func took(_ size: Int) {
    guard size > EnqueueError.alwaysTakenBytes else { return }
    if size >= closings.bytes { closings = Self.noClosings }
    if let limit = learned?.limit, size > limit { learned = nil }
  }

  /// Records that Redis answered that it doesn't accept a payload of this size.
  mutating func refused(_ size: Int, now: NIODeadline) {
    closings = Self.noClosings
    learned = (min(size - 1, learned?.limit ?? .max), now + Self.memory)
  }

  /// Records that the connection was closed on a payload of this size.
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
  /// The settings to read with CONFIG GET.
  static let settings = [
    "proto-max-bulk-len", "client-query-buffer-limit", "maxmemory-clients", "client-output-buffer-limit",
  ]

  /// A limit below this is logged: payloads that a node accepts by default may be larger.
  static let worthSaying = 64 << 20

  /// - Parameter answers: The replies to ``Durability/questions``.
  /// - Returns: nil if CONFIG can't be used.
  static func read(answers: [RedisReply]) -> Int? {
    // ``Durability`` reports the reason, from the same reply.
    guard let settings = try? Durability.settings(answers[0]) else { return nil }
    var limits: [Int] = []
    if let bulk = settings["proto-max-bulk-len"].flatMap({ Int($0) }), bulk > 0 { limits.append(bulk) }
    // The buffer also contains the command's beginning and a part of the next command.
    if let buffer = settings["client-query-buffer-limit"].flatMap({ Int($0) }), buffer > 0 {
      limits.append(buffer - min(buffer / 4, 256 << 10))
    }
    // A payload is in memory twice for a moment: in the query buffer, and as the command's element.
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

  /// The largest payload that Redis can send to a worker.
  /// - Parameter setting: For example `normal 0 0 0 slave …`: for each class the hard limit, the soft one, and its
  ///   seconds.
  private static func outputLimit(_ setting: String?) -> Int? {
    let words = setting?.split(separator: " ") ?? []
    guard let place = words.firstIndex(of: "normal"), words.count > place + 2 else { return nil }
    return words[place + 1...place + 2].compactMap { Int($0) }.filter { $0 > 0 }.min().map { $0 / 2 }
  }
}

extension EnqueueError {
  /// A payload up to this size, with the line before it, is within the limits of any Redis: half of their lowest
  /// possible values, because a part of the command counts as well.
  public static let alwaysTakenBytes = 512 << 10

  /// Redis answered that the payload is too large. The payload was alone in its command, or is smaller than any of
  /// Redis's limits.
  /// - Parameter bytes: The payload's size, with the line before it.
  public func isTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .refused(let error) = self else { return false }
    return error.message.contains("invalid bulk length") || error.message.contains("exceeds maximum allowed size")
  }

  /// Redis closed the connection on which the payload was sent: the payload may be too large, or Redis may have ended.
  /// - Parameter bytes: The payload's size, with the line before it.
  public func mayBeTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .unknownOutcome(let error) = self, case .closed = error.reason else {
      return false
    }
    return true
  }
}
