// The state of one shard on one event loop: its connection, the batches in flight, and the last known numbers. All of
// it belongs to the event loop, so a decision about a payload reads a few fields and needs no lock.
//
// The numbers have two sources. The watch tells about once a second how full and how durable the shard is. Between
// two readings the loop updates them itself: each reply has the length of its list, which includes other nodes'
// payloads, and the loop knows its own bytes. So a limit of entries is exceeded at most by the entries in flight, and a
// limit of bytes also by the bytes that other loops push until the next reading. Redis's memory is more dangerous to
// exceed, so for it all loops of the node add what they push to one counter, with what the allocator may add.

internal import NIOCore
internal import RedisClient
internal import Synchronization

/// What the watch tells the event loops about a shard, about once a second.
struct ShardUpdate: Sendable {
  enum Level: Sendable {
    case read(entries: ListAmounts, bytes: ListAmounts, Admission)
    /// The reading failed: the last numbers still count.
    case unchanged
    /// The shard hasn't been read for long. Only the replies to this loop's pushes count.
    case unknown
  }

  var level: Level
  /// The mark's counts when the reading was requested. It doesn't include later pushes.
  var counted: HighMark.Counts
  /// The largest payload that Redis accepts, in bytes, including the line before it; nil if unknown.
  var payloadLimit: Int?
  /// Why Redis doesn't meet the required durability or isn't known to meet it, as text; nil if it does.
  var durabilityLack: String?
  /// Records that this loop reached the high-water mark between two readings.
  let mark: HighMark
}

/// Counters of one shard, shared by the event loops and the watch. All are totals since the node began: how often a
/// loop reached the high-water mark, the memory that pushes used in Redis, and the bytes of huge payloads that were
/// begun, and of those whose outcome is known. Also Redis's error if it didn't count pushed bytes.
final class HighMark: Sendable {
  struct Counts {
    var reached: Int
    /// Bytes of huge payloads whose outcome is known. A reading of Redis's memory that begins afterwards includes them.
    var hugeDone: Int
    /// Redis's memory for all payloads that were pushed so far, as ``HighMark/pushed`` was.
    var pushed: Int
  }

  private let count = Atomic(0)
  private let pushedMemory = Atomic(0)
  private let hugeBegun = Atomic(0)
  private let hugeDone = Atomic(0)
  private let countingRefusal = Mutex<String?>(nil)

  var counts: Counts {
    Counts(
      reached: count.load(ordering: .relaxed), hugeDone: hugeDone.load(ordering: .acquiring), pushed: pushed)
  }

  /// Upper bound of the memory that Redis used for the payloads of all loops, without huge ones, since the node began.
  var pushed: Int { pushedMemory.load(ordering: .relaxed) }

  func push(memory: Int) { pushedMemory.add(memory, ordering: .relaxed) }

  func reach() -> Int { count.add(1, ordering: .relaxed).newValue }

  /// Counts a payload as begun, unless the total would exceed the maximum.
  func beginHuge(_ bytes: Int, upTo most: Int) -> Bool {
    // If two loops do this at the same time, both may find too many. They try again soon.
    if hugeBegun.add(bytes, ordering: .relaxed).newValue <= most { return true }
    hugeBegun.subtract(bytes, ordering: .relaxed)
    return false
  }

  /// Redis's last error when it was to count pushed bytes.
  var countingProblem: String? { countingRefusal.withLock { $0 } }

  func setCountingProblem(_ problem: String?) { countingRefusal.withLock { $0 = problem } }

  func endHuge(_ bytes: Int) { hugeDone.add(bytes, ordering: .releasing) }
}

/// A huge payload that is being sent. Call its end once, whatever the outcome.
struct HugePayload {
  fileprivate let mark: HighMark?
  fileprivate let memory: Int

  func end() { mark?.endHuge(memory) }
}

/// More than any real number.
private let plenty = Int64.max / 2

/// One shard on one event loop. Used on that loop only.
final class ShardLane {
  let client: RedisClient
  let destination: PushDestination
  private let requirement: DurabilityRequirement
  private let limits: QueueLimits
  private let pushed: PushedBytes
  /// Waiting entries, from the last reading or reply.
  private var entries = ListAmounts()
  /// Waiting bytes: by the last reading, plus this loop's pushes since. All 0 if unknown.
  private var bytes = ListAmounts()
  private var draws = DrawnBits()
  private var batchesInFlight = 0
  private var isHugeInFlight = false

  /// nil if there is no watch.
  private var mark: HighMark?
  /// The room up to the high-water mark, if known.
  private var room = (entries: plenty, bytes: plenty)
  /// The mark's ``HighMark/pushed`` at which Redis's memory reaches the high-water mark, if known.
  private var pushedAtHighMemory = plenty
  private var isOver = false
  /// Redis's free memory at the last reading, including the part beyond the high-water mark, and the bytes of huge
  /// payloads that the reading included.
  private var memoryLeft = plenty
  private var hugeRead = 0
  /// The part of the room that is reserved for accounts that don't send much or don't hold much.
  private var reserve = (entries: Int64(0), bytes: Int64(0), memory: Int64(0))
  /// The hashes of accounts with too many dead letters, and of those with too many bytes that wait for a retry.
  private var manyDeadLetters: Set<UInt64> = []
  private var manyRetries: Set<UInt64> = []
  /// Whether there is any such account. Separate, because the hot path reads it.
  private var hasLimitedAccounts = false
  /// The mark's count when this loop last reached it.
  private var reached = 0
  /// The largest accepted payload.
  var payloadLimit = ServerPayloadLimit()
  /// Calculates the Retry-After while the shard is over the mark.
  private var admission: Admission?
  private var durabilityLack: String?
  /// The connection to the Redis that is known to meet the requirement, and a connection that is being checked.
  private var known: RedisConnection?
  private var asked: RedisConnection?

  /// - Parameter deadline: Maximum wait for one reply of Redis.
  init(
    _ shard: QueueProducer.Shard, requirement: DurabilityRequirement, limits: QueueLimits, deadline: TimeAmount
  ) {
    client = shard.client
    destination = PushDestination(keys: shard.layout.pending, confirmingReplicas: requirement.confirmingReplicas)
    self.requirement = requirement
    self.limits = limits
    pushed = PushedBytes(client: shard.client, layout: shard.layout, deadline: deadline)
    if requirement != .none { durabilityLack = "Redis's durability settings haven't been read yet" }
  }

  // MARK: Known state

  func learn(_ word: ShardUpdate) {
    mark = word.mark
    pushed.mark = word.mark
    durabilityLack = word.durabilityLack
    payloadLimit.told = word.payloadLimit
    switch word.level {
    case .read(let entries, let bytes, let admission):
      self.entries = entries
      self.bytes = bytes
      self.admission = admission
      let room = admission.room
      self.room = room.map { ($0.entries, $0.bytes) } ?? (plenty, plenty)
      pushedAtHighMemory = room?.memory.map { Int64(word.counted.pushed) + $0 } ?? plenty
      // Redis counts bytes when this loop adds them, which is after they were pushed.
      for (list, bytes) in pushed.uncounted.enumerated() {
        self.bytes.lists[list] += bytes
        self.room.bytes -= bytes
      }
      reserve = admission.reserve ?? (0, 0, 0)
      memoryLeft = admission.memoryLeft ?? plenty
      hugeRead = word.counted.hugeDone
      manyDeadLetters = admission.deadLetters.hashes
      manyRetries = admission.retries.hashes
      hasLimitedAccounts = !manyDeadLetters.isEmpty || !manyRetries.isEmpty
      // A reading that began before the mark was reached doesn't show it.
      isOver = admission.shutFor != nil || reached > word.counted.reached
    case .unchanged: break
    case .unknown:
      // Accounts with too many dead letters still have them, because dead letters don't disappear by themselves. From
      // here on the replies to pushes count. Before the first reply nothing is known to be full. So while the shard
      // can't be read and is full, each loop tries one batch after each failed reading.
      entries = ListAmounts()
      bytes = ListAmounts()
      admission = nil
      room = (Int64(limits.entries), plenty)
      pushedAtHighMemory = plenty
      memoryLeft = plenty
      reserve = (Admission.reserve(of: Int64(limits.entries)), 0, 0)
      isOver = false
    }
  }

  /// Updates the length of a list from a reply.
  /// - Parameter isHuge: Whether the bytes are a huge payload's. Its memory has a limit of its own: ``begin(huge:)``.
  func heard(_ length: Int64, of list: Int, after bytes: Int, isHuge: Bool = false) {
    room.entries -= length - entries.lists[list]
    room.bytes -= Int64(bytes)
    entries.lists[list] = length
    self.bytes.lists[list] += Int64(bytes)
    pushed.add(bytes, to: list)
    guard let mark else { return }
    if !isHuge { mark.push(memory: Self.memory(of: bytes)) }
    if !isOver, room.entries <= 0 || room.bytes <= 0 || memoryRoom <= 0 {
      isOver = true
      reached = mark.reach()
    }
  }

  /// Upper bound of Redis's memory for this number of bytes. The allocator rounds up by up to a quarter.
  private static func memory(of bytes: Int) -> Int { bytes + bytes / 4 }

  /// Redis's memory up to the high-water mark. It counts the pushes of all loops of this node since the last reading,
  /// and twice those that Redis executed between the mark's count and that reading.
  private var memoryRoom: Int64 { pushedAtHighMemory < plenty ? pushedAtHighMemory - Int64(mark?.pushed ?? 0) : plenty }

  /// Records that bytes were sent to a list and Redis may have them.
  func mayHaveTaken(_ bytes: Int, list: Int, isHuge: Bool) {
    pushed.add(bytes, to: list)
    if !isHuge { mark?.push(memory: Self.memory(of: bytes)) }
  }

  /// Adds the pushed bytes to Redis's counts. The future never fails.
  func tellPushedBytes() -> EventLoopFuture<Void> { pushed.tell() }

  /// Records that too few replicas confirmed a batch. No further batch is sent until the watch has read the shard
  /// again, because it would only wait too.
  func wasUnconfirmed(_ replicas: Int64) {
    durabilityLack =
      "--require-durability \(requirement) isn't met: only \(replicas) \(replicas == 1 ? "replica" : "replicas") confirmed "
      + "the last payloads in time. Check the replicas' lag"
  }

  /// Whether there is a watch. Without a watch all payloads go to list 0: a loop that stopped pushing to list 0
  /// wouldn't notice that the list is short again.
  var isWatched: Bool { mark != nil }

  /// The list for the next payload of the account with this hash, if there is a watch.
  func list(of account: UInt64, sendsMuch: Bool, sendsManyBytes: Bool, bytes: Int) -> Int {
    AccountShuffleShard.list(
      of: account, sendsMuch: sendsMuch, isLarge: bytes > AccountShuffleShard.largePayload, lengths: entries.lists,
      draw: sendsManyBytes ? draws.next() : nil)
  }

  // MARK: Whether it accepts anything

  /// Whether a payload can be pushed to this shard, now or after a batch in flight is answered.
  var takes: Bool { !isOver && durabilityLack == nil && isConnected }

  /// Whether the rest of the room is reserved for accounts that hold less than this account, which sends much.
  ///
  /// The amount that an account sends proves nothing by itself: with seven customers, each sends a seventh. An account
  /// that fills the queue also holds much of it. For the reserve of entries its entries are compared, for the reserve
  /// of bytes its bytes.
  /// - Parameters:
  ///   - account: The account's hash.
  ///   - bytes: Of the batches in flight and of the next payload.
  ///   - isOld: Whether the payload was acknowledged before and waits on a disk. Then half of the queue is reserved for
  ///     new payloads, instead of a fifth: otherwise a large spool would fill the queue, and new payloads of accounts
  ///     that send much would be rejected.
  func isReserved(against account: UInt64, after bytes: Int, ofOldPayloads isOld: Bool) -> Bool {
    var kept = reserve
    if isOld {
      kept.entries = Admission.half(fromReserve: kept.entries)
      kept.bytes = Admission.half(fromReserve: kept.bytes)
      kept.memory = Admission.half(fromReserve: kept.memory)
    }
    let isNearEntries = room.entries <= kept.entries
    let isNearBytes =
      room.bytes - Int64(bytes) <= kept.bytes || memoryRoom - Int64(Self.memory(of: bytes)) <= kept.memory
    guard isNearEntries || isNearBytes else { return false }
    let hand = AccountShuffleShard(hash: account)
    return isNearEntries && entries.mayHoldMuch(hand)
      || isNearBytes && (self.bytes.all > 0 ? self.bytes : entries).mayHoldMuch(hand)
  }

  /// Begins a huge payload, if Redis has room for it and for the huge payloads of all loops that the last reading may
  /// not include.
  /// - Returns: The object to end when the outcome is known; nil if there is no room.
  func begin(huge bytes: Int) -> HugePayload? {
    guard let mark else { return HugePayload(mark: nil, memory: 0) }
    // The payload is in memory twice for a moment: in the receive buffer, and in its list.
    let memory = Self.memory(of: 2 * bytes)
    let most = memoryLeft < plenty ? hugeRead + Int(memoryLeft) : .max
    return mark.beginHuge(memory, upTo: most) ? HugePayload(mark: mark, memory: memory) : nil
  }

  /// Why the account with this hash holds too much here that may stay for long; nil if it doesn't.
  func limit(of account: UInt64) -> EnqueueError? {
    guard hasLimitedAccounts else { return nil }
    var generator = SystemRandomNumberGenerator()
    if manyDeadLetters.contains(account) {
      return .tooManyDeadLetters(retryAfter: Admission.retryAfterHelp(using: &generator))
    }
    return manyRetries.contains(account)
      ? .tooManyRetries(retryAfter: Admission.retryAfterHelp(using: &generator)) : nil
  }

  /// Expected seconds until there is room for all accounts again.
  var retryAfter: Int {
    var generator = SystemRandomNumberGenerator()
    return admission?.retryAfter(using: &generator) ?? 1
  }

  /// Why nothing can be pushed; nil if something can.
  var obstacle: EnqueueError? {
    if case .failure(let error) = client.current { return .away(error) }
    if let durabilityLack { return .durabilityLost(durabilityLack) }
    return isOver ? .overLimit(retryAfter: retryAfter) : nil
  }

  var isConnected: Bool { client.hasConnection }

  // MARK: Sending

  /// Whether batches may be sent only to the server whose durability was read: true for `everySecond` and `always`. For
  /// `replicas` each batch's confirmations are checked.
  var isBoundToServer: Bool { requirement == .everySecond || requirement == .always }

  /// The connection, if a batch may be sent on it now.
  /// - Parameters:
  ///   - most: Maximum batches in flight.
  ///   - limit: Deadline for a connection whose durability has to be read first.
  ///   - changed: Called when it has been read, or the deadline is over.
  func freeConnection(most: Int, asking limit: TimeAmount, changed: @escaping () -> Void) -> RedisConnection? {
    guard batchesInFlight < most, !isOver, durabilityLack == nil, case .success(let connection) = client.current else {
      return nil
    }
    if requirement == .none || connection === known { return connection }
    // Another connection may lead to another server, or to the same server with other settings.
    if connection !== asked { ask(connection, within: limit, changed) }
    return nil
  }

  private func ask(_ connection: RedisConnection, within limit: TimeAmount, _ changed: @escaping () -> Void) {
    asked = connection
    connection.send(Durability.questions, within: limit).assumeIsolated().whenComplete { result in
      guard self.asked === connection else { return }
      self.asked = nil
      if case .success(let answers) = result {
        self.durabilityLack = self.requirement.shortfall(of: Durability(answers: answers))
        if self.durabilityLack == nil { self.known = connection }
      }
      changed()
    }
  }

  /// Whether a huge payload is sent on a separate connection, because it may be too large for Redis. Redis would then
  /// close the connection, with all other payloads on it.
  var sendsHugeApart: Bool { isWatched && payloadLimit.told == nil && !isBoundToServer }

  var takesHuge: Bool { !isHugeInFlight }

  func sends(huge: Bool) {
    batchesInFlight += 1
    if huge { isHugeInFlight = true }
  }

  func hasAnswered(huge: Bool) {
    batchesInFlight -= 1
    if huge { isHugeInFlight = false }
  }
}
