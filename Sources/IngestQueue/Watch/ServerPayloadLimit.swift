// The largest payload that the Redis of a shard accepts. Two of Redis's limits apply to one element of a command:
//
// - `proto-max-bulk-len`, 512 MiB by default: Redis answers "ERR Protocol error: invalid bulk length" and closes the
//   connection. Because it does so before it has read the payload, the reply is often lost with the connection.
// - `client-query-buffer-limit`, 1 GiB by default: Redis closes the connection without a reply.
//
// Two more apply to a connection's memory: `maxmemory-clients`, beyond which Redis closes the connections that use
// most, and `client-output-buffer-limit`, beyond which it closes a worker's connection while it sends the payload.
//
// They are read with CONFIG, and a payload that is too large is refused before it is sent. If CONFIG is forbidden, the
// limits are found by exceeding them. An error reply is certain. A closed connection may also mean that Redis ended,
// and only a second one shows the difference. The learned limit is kept for a while, because each try costs a
// connection. If the limits are known, a closed connection says nothing about them. The first two can't be set to less
// than 1 MiB. So no smaller payload is ever suspected, and a batch of them always fits.

internal import Hiredis
internal import NIOCore
internal import RedisClient

/// The largest payload that one Redis accepts, as far as known, in bytes, with the line before it.
struct ServerPayloadLimit {
  /// Read from Redis; nil if unknown.
  var told: Int? {
    // Somebody has changed the settings: a limit that was learned under the old ones doesn't hold any more.
    didSet { if told != oldValue { (learned, closings) = (nil, Self.noClosings) } }
  }
  /// Learned from payloads that Redis didn't accept.
  private var learned: (limit: Int, until: NIODeadline)?
  /// The smallest payload whose connection was closed, how often that happened with one as large or larger, and when
  /// last.
  private var closings = noClosings

  private static let noClosings = (bytes: Int.max, count: 0, last: NIODeadline.distantPast)

  /// After this number of closed connections a payload counts as too large.
  private static let closingsOfTooLarge = 2
  /// How long a learned limit is used: somebody may have changed Redis's settings.
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

  /// Redis has accepted a payload of this size.
  mutating func took(_ size: Int) {
    guard size > EnqueueError.alwaysTakenBytes else { return }
    if size >= closings.bytes { closings = Self.noClosings }
    if let limit = learned?.limit, size > limit { learned = nil }
  }

  /// Redis has answered that it doesn't accept a payload of this size.
  mutating func refused(_ size: Int, now: NIODeadline) {
    closings = Self.noClosings
    learned = (min(size - 1, learned?.limit ?? .max), now + Self.memory)
  }

  /// The connection of a payload of this size was closed.
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
    // ``Durability`` reports the reason from the same reply.
    guard let settings = try? Durability.settings(answers[0]) else { return nil }
    var limits: [Int] = []
    if let bulk = settings["proto-max-bulk-len"].flatMap({ Int($0) }), bulk > 0 { limits.append(bulk) }
    // The buffer also contains the command's beginning and a part of the next command.
    if let buffer = settings["client-query-buffer-limit"].flatMap({ Int($0) }), buffer > 0 {
      limits.append(buffer - min(buffer / 4, 256 << 10))
    }
    // A payload is in memory twice for a moment: as received, and as the command's element.
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

  /// Redis answered that the payload is too large for it. It was alone in its command, or is smaller than the sizes in
  /// question.
  /// - Parameter bytes: The payload's size, with the line before it.
  public func isTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .refused(let error) = self else { return false }
    return error.message.contains("invalid bulk length") || error.message.contains("exceeds maximum allowed size")
  }

  /// Redis closed the connection on which the payload was sent. It does so if the payload is too large for it, and when
  /// it ends.
  /// - Parameter bytes: The payload's size, with the line before it.
  public func mayBeTooLargeForServer(bytes: Int) -> Bool {
    guard bytes > Self.alwaysTakenBytes, case .unknownOutcome(let error) = self, case .closed = error.reason else {
      return false
    }
    return true
  }
}
