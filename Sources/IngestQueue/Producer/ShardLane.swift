// One shard as one event loop sees it: its connection, what is on its way there, and what was heard of it last. All of it belongs to the
// event loop, so that deciding on a payload reads a few fields and asks nobody.
//
// What the loop knows comes from two sides. The watch tells it about once a second how full the shard is and what Redis promises; between
// two words it counts on: each reply says how long its list is now, whoever made it longer, and its own bytes it knows
// anyway. So beyond a mark come at most what is in flight, and of bytes besides what other loops push until the next word.

internal import NIOCore
internal import RedisClient
internal import Synchronization

/// What the watch tells event loops of a shard, about once a second.
struct ShardUpdate: Sendable {
  enum Level: Sendable {
    case read(entries: ListAmounts, bytes: ListAmounts, Admission)
    /// It couldn't be read this time: what was known still counts.
    case unchanged
    /// It hasn't been read for long, and what the loop hears itself has to do.
    case unknown
  }

  var level: Level
  /// What the mark had counted when it was asked for: what came since isn't in there.
  var counted: HighMark.Counts
  /// The largest payload that Redis takes, in bytes with the line before it; nil where that can't be told.
  var payloadLimit: Int?
  /// How Redis falls short of what is required of it, or isn't known to meet it, in words; nil where it does.
  var durabilityLack: String?
  /// Where the loop says that the high-water mark was reached between two words.
  let mark: HighMark
}

/// What event loops tell each other and the watch of a shard: how often one saw it reach its high-water mark, what huge
/// payloads take of Redis's memory, in bytes, which both only grow; and whether Redis counts what they pushed.
final class HighMark: Sendable {
  struct Counts {
    var reached: Int
    /// Of huge payloads whose outcome is known, so that a reading from here on has them.
    var hugeDone: Int
  }

  private let count = Atomic(0)
  private let hugeBegun = Atomic(0)
  private let hugeDone = Atomic(0)
  private let countingRefusal = Mutex<String?>(nil)

  var counts: Counts {
    Counts(reached: count.load(ordering: .relaxed), hugeDone: hugeDone.load(ordering: .acquiring))
  }

  func reach() -> Int { count.add(1, ordering: .relaxed).newValue }

  /// Counts a payload as begun, unless there are more than so many bytes then.
  func beginHuge(_ bytes: Int, upTo most: Int) -> Bool {
    // Two loops at once may both find too many: another try is soon.
    if hugeBegun.add(bytes, ordering: .relaxed).newValue <= most { return true }
    hugeBegun.subtract(bytes, ordering: .relaxed)
    return false
  }

  /// Why Redis refuses to count what was pushed, if it did last.
  var countingProblem: String? { countingRefusal.withLock { $0 } }

  func setCountingProblem(_ problem: String?) { countingRefusal.withLock { $0 = problem } }

  func endHuge(_ bytes: Int) { hugeDone.add(bytes, ordering: .releasing) }
}

/// A huge payload that has begun on its way. To be ended once, whatever becomes of it.
struct HugePayload {
  fileprivate let mark: HighMark?
  fileprivate let memory: Int

  func end() { mark?.endHuge(memory) }
}

/// More than will ever come.
private let plenty = Int64.max / 2

/// One shard on one event loop, and only there.
final class ShardLane {
  let client: RedisClient
  let destination: PushDestination
  private let requirement: DurabilityRequirement
  private let limits: QueueLimits
  private let pushed: PushedBytes
  /// Entries that wait, as last heard, from the watch or in a reply.
  private var entries = ListAmounts()
  /// Bytes that wait: as the watch read them, and what this loop has pushed since. All 0 where they aren't known.
  private var bytes = ListAmounts()
  private var draws = DrawnBits()
  private var batchesInFlight = 0
  private var isHugeInFlight = false

  /// nil where nobody watches.
  private var mark: HighMark?
  /// What may still come until the high-water mark, as far as is known.
  private var room = (entries: plenty, bytes: plenty)
  private var isOver = false
  /// What was left of Redis's memory at the last reading, beyond the high-water mark as well, and what the mark had
  /// counted of huge payloads that were in it.
  private var memoryLeft = plenty
  private var hugeRead = 0
  /// So much of the room is for accounts that don't send much or don't hold much.
  private var reserve = (entries: Int64(0), bytes: Int64(0))
  /// Whether somebody's dead letters are too many, and the hashes of all whose are. Apart, for the hot path.
  private var hasTold = false
  private var told: Set<UInt64> = []
  /// What the mark counted when this loop reached it last.
  private var reached = 0
  /// How large a payload may be.
  var payloadLimit = ServerPayloadLimit()
  /// For when it is over the mark.
  private var admission: Admission?
  private var durabilityLack: String?
  /// The connection whose Redis is known to meet the requirement, and one that is being asked.
  private var known: RedisConnection?
  private var asked: RedisConnection?

  /// - Parameter deadline: For one answer of Redis.
  init(
    _ shard: QueueProducer.Shard, requirement: DurabilityRequirement, limits: QueueLimits, deadline: TimeAmount
  ) {
    client = shard.client
    destination = PushDestination(keys: shard.layout.pending, confirmingReplicas: requirement.confirmingReplicas)
    self.requirement = requirement
    self.limits = limits
    pushed = PushedBytes(client: shard.client, layout: shard.layout, deadline: deadline)
    if requirement != .none { durabilityLack = "what Redis promises hasn't been read yet" }
  }

  // MARK: What is known of it

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
      room = admission.room ?? (plenty, plenty)
      // Redis counts bytes when it is told of them, which is later than they are pushed.
      for (list, bytes) in pushed.uncounted.enumerated() {
        self.bytes.lists[list] += bytes
        room.bytes -= bytes
      }
      reserve = admission.reserve ?? (0, 0)
      memoryLeft = admission.memoryLeft ?? plenty
      hugeRead = word.counted.hugeDone
      told = admission.deadLetters.hashes
      hasTold = !told.isEmpty
      // A reading that was under way when the mark was reached doesn't know of it.
      isOver = admission.shutFor != nil || reached > word.counted.reached
    case .unchanged: break
    case .unknown:
      // Whoever had too many dead letters has them still: they don't go away by themselves.
      // From here on by what replies say; until the first of them nothing is known to be full. So while it can't be read, and
      // is full, each loop tries one batch after each word.
      entries = ListAmounts()
      bytes = ListAmounts()
      admission = nil
      room = (Int64(limits.entries), plenty)
      memoryLeft = plenty
      reserve = (Admission.reserve(of: Int64(limits.entries)), 0)
      isOver = false
    }
  }

  /// A reply said how long a list is.
  func heard(_ length: Int64, of list: Int, after bytes: Int) {
    room.entries -= length - entries.lists[list]
    room.bytes -= Int64(bytes)
    entries.lists[list] = length
    self.bytes.lists[list] += Int64(bytes)
    pushed.add(bytes, to: list)
    if let mark, !isOver, room.entries <= 0 || room.bytes <= 0 {
      isOver = true
      reached = mark.reach()
    }
  }

  /// So many bytes were sent to a list, and it isn't known whether Redis has them.
  func mayHaveTaken(_ bytes: Int, list: Int) { pushed.add(bytes, to: list) }

  /// Tells Redis how many bytes were pushed. The future never fails.
  func tellPushedBytes() -> EventLoopFuture<Void> { pushed.tell() }

  /// Too few replicas have confirmed a batch: others would only wait as well, until the next word.
  func wasUnconfirmed(_ replicas: Int64) {
    durabilityLack = "\(requirement) is required, and \(replicas) confirmed the last payloads in time"
  }

  /// Whether somebody watches it. Where nobody does all payloads go to list 0: a loop that no longer pushes there wouldn't hear that it has become
  /// short again.
  var isWatched: Bool { mark != nil }

  /// The list for the next payload of the account with this hash, where it is watched.
  func list(of account: UInt64, sendsMuch: Bool, sendsManyBytes: Bool, bytes: Int) -> Int {
    AccountShuffleShard.list(
      of: account, sendsMuch: sendsMuch, isLarge: bytes > AccountShuffleShard.largePayload, lengths: entries.lists,
      draw: sendsManyBytes ? draws.next() : nil)
  }

  // MARK: Whether it takes anything

  /// Whether something can be pushed to it, now or when something in flight is answered.
  var takes: Bool { !isOver && durabilityLack == nil && isConnected }

  /// Whether what is left is for accounts that hold less than this one, which sends much.
  ///
  /// What an account sends says nothing by itself: where there are seven customers, each sends an eighth. An account
  /// that fills the queue holds much of it. In the reserve of entries its entries count, in the reserve of bytes its
  /// bytes.
  /// - Parameters:
  ///   - account: The account's hash.
  ///   - bytes: Of what is on its way already, and of what is to come.
  ///   - isOld: Whether the payload was acknowledged before and waits on a disk. Then half of the queue is kept for
  ///     what is new, instead of a fifth: otherwise a large spool would fill the queue, and new payloads of accounts
  ///     that send much would be refused.
  func isReserved(against account: UInt64, after bytes: Int, ofOldPayloads isOld: Bool) -> Bool {
    var kept = reserve
    if isOld {
      kept.entries = Admission.half(fromReserve: kept.entries)
      kept.bytes = Admission.half(fromReserve: kept.bytes)
    }
    let (isNearEntries, isNearBytes) = (room.entries <= kept.entries, room.bytes - Int64(bytes) <= kept.bytes)
    guard isNearEntries || isNearBytes else { return false }
    let hand = AccountShuffleShard(hash: account)
    return isNearEntries && entries.mayHoldMuch(hand)
      || isNearBytes && (self.bytes.all > 0 ? self.bytes : entries).mayHoldMuch(hand)
  }

  /// Begins a huge payload, if it finds room in Redis beside those of all loops that may not be in what was read.
  /// - Returns: Where to say what it takes when its outcome is known; nil where there is no room for it.
  func begin(huge bytes: Int) -> HugePayload? {
    guard let mark else { return HugePayload(mark: nil, memory: 0) }
    // Twice for a moment, as it came and in its list; and the allocator rounds up by up to a quarter.
    let memory = bytes / 2 * 5
    let most = memoryLeft < plenty ? hugeRead + Int(memoryLeft) : .max
    return mark.beginHuge(memory, upTo: most) ? HugePayload(mark: mark, memory: memory) : nil
  }

  /// Whether the account with this hash has too many dead letters here.
  func hasTooManyDeadLetters(_ account: UInt64) -> Bool { hasTold && told.contains(account) }

  /// When there should be room for all again, in seconds.
  var retryAfter: Int {
    var generator = SystemRandomNumberGenerator()
    return admission?.retryAfter(using: &generator) ?? 1
  }

  /// Why not; nil where it can.
  var obstacle: EnqueueError? {
    if case .failure(let error) = client.current { return .away(error) }
    if let durabilityLack { return .durabilityLost(durabilityLack) }
    return isOver ? .overLimit(retryAfter: retryAfter) : nil
  }

  var isConnected: Bool { client.hasConnection }

  // MARK: Sending

  /// Whether a batch may be carried out by no other server than the one whose disk was asked. Replicas are asked with each batch.
  var isBoundToServer: Bool { requirement == .everySecond || requirement == .always }

  /// The connection, if a batch may go out on it now.
  /// - Parameters:
  ///   - most: Batches that may be in flight.
  ///   - limit: For a connection that has to be asked first.
  ///   - changed: Called when it has answered, or hasn't in time.
  func freeConnection(most: Int, asking limit: TimeAmount, changed: @escaping () -> Void) -> RedisConnection? {
    guard batchesInFlight < most, !isOver, durabilityLack == nil, case .success(let connection) = client.current else {
      return nil
    }
    if requirement == .none || connection === known { return connection }
    // Another connection may be another server, or the same one set up in another way.
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

  /// Whether a huge payload goes on a connection of its own, since it may be too large for Redis and end the connection
  /// with all that others have on it.
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
