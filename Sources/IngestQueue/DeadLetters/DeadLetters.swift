// The dead letters of a shard: payloads that couldn't be stored, with the reason. Only operators remove dead letters,
// through this type: they read one, then requeue it when the cause is gone, or discard it.
//
// There may be millions, and workers add more at the same time. So each operation goes through the entries in steps. A
// step is limited in dead letters and in bytes, and at most one page is in memory. After a crash between two steps, the
// finished part is done and the rest is unchanged.

internal import Hiredis
internal import NIOCore
public import RedisClient

/// Reads, requeues and discards a shard's dead letters.
public struct DeadLetters: Sendable {
  /// The order of reading.
  public enum Order: String, Sendable {
    case newest, oldest
  }

  public let layout: QueueLayout
  private let client: RedisClient
  private let deadline = TimeAmount.seconds(5)

  /// Maximum dead letters of one step.
  static let pageLetters = 500
  /// A step ends once it has read this number of bytes, because Redis answers no other command while it runs.
  static let stepBytes = 4 << 20

  public init(client: RedisClient, layout: QueueLayout = QueueLayout()) {
    self.client = client
    self.layout = layout
  }

  // MARK: Reading

  /// Goes through all dead letters. If the oldest are first, those that are added in the meantime are included.
  public func walk(_ order: Order) -> DeadLetterWalk { DeadLetterWalk(self, order) }

  /// The next dead letters, and whether they are the last ones.
  func page(
    _ order: Order, from: String, to: String, most: Int = pageLetters
  ) async throws(QueueFailure) -> (letters: [FoundLetter], isLast: Bool) {
    let script = DeadLetterPageScript(
      layout: layout, order: order, from: from, to: to, letters: most, bytes: Self.stepBytes)
    let page = try await run(script)
    return (page.letters, page.isLast)
  }

  /// A part of the queue's element, byte for byte: the envelope's line, a newline, the payload.
  /// - Parameters:
  ///   - offset: The first byte of the part.
  ///   - most: Maximum bytes; fewer are returned only at the end.
  /// - Returns: Nil if the dead letter is gone.
  public func part(
    of entry: DeadLetter.Entry, from offset: Int, most: Int = 4 << 20
  ) async throws(QueueFailure) -> [UInt8]? {
    try await run(DeadLetterPartScript(layout: layout, entry: entry, offset: offset, bytes: most))
  }

  /// The reasons of the newest dead letters.
  public func reasons(ofNewest most: Int) async throws(QueueFailure) -> ReasonCounts {
    var reasons = ReasonCounts()
    var walk = walk(.newest)
    while reasons.total < most, let letter = try await walk.next() { reasons.add(letter.reason) }
    return reasons
  }

  // MARK: Requeueing and discarding

  /// Requeues dead letters, the oldest first, behind the waiting payloads, as if they had never failed. Each goes to
  /// the list that a node would choose, so that one account's many payloads don't delay others.
  /// - Parameters:
  ///   - filter: Selects among the present dead letters.
  ///   - limit: Maximum number.
  ///   - tally: Updated after each step, so that the finished part is known even if this throws.
  public func requeue(
    _ filter: DeadLetterFilter, limit: Int = .max, tally: inout DeadLetterTally
  ) async throws(QueueFailure) {
    try await sweep(filter, limit: limit, &tally) { letters throws(QueueFailure) in
      let named = letters.map { found in
        var hand: AccountShuffleShard?
        if case .success(let letter) = found { hand = letter.account.map { AccountShuffleShard(account: $0) } }
        return RequeueScript.Letter(entry: found.entry, first: hand?.first ?? 0, second: hand?.second ?? 0)
      }
      return try await run(RequeueScript(layout: layout, bytes: Self.stepBytes, letters: named))
    }
  }

  /// Discards dead letters, unreadable ones too. As ``requeue(_:limit:tally:)``.
  public func discard(
    _ filter: DeadLetterFilter, limit: Int = .max, tally: inout DeadLetterTally
  ) async throws(QueueFailure) {
    try await sweep(filter, limit: limit, &tally) { letters throws(QueueFailure) in
      try await run(DiscardScript(layout: layout, bytes: Self.stepBytes, entries: letters.map(\.entry)))
    }
  }

  /// Counts the selected dead letters and changes nothing.
  public func count(
    _ filter: DeadLetterFilter, limit: Int = .max, tally: inout DeadLetterTally
  ) async throws(QueueFailure) {
    try await sweep(filter, limit: limit, &tally) { letters throws(QueueFailure) in letters.map { _ in .done } }
  }

  /// Goes through all present dead letters, the oldest first.
  /// - Parameter act: Processes the first of the dead letters, at least one, and returns the outcome of each.
  private func sweep(
    _ filter: DeadLetterFilter, limit: Int, _ tally: inout DeadLetterTally,
    act: (ArraySlice<FoundLetter>) async throws(QueueFailure) -> [DeadLetterTally.Outcome]
  ) async throws(QueueFailure) {
    // Later entries were added after this began. A requeued dead letter that fails again is among them, and would be
    // requeued for ever.
    guard let last = try await page(.newest, from: "+", to: "-", most: 1).letters.first?.entry else { return }
    var walk = DeadLetterWalk(self, .oldest, through: last)
    var left = limit
    while left > 0, let page = try await walk.nextPage() {
      var chosen = page.filter { filter.matches($0) }.prefix(left)
      if filter.ids != nil { tally.metIDs.formUnion(chosen.map(\.id)) }
      while !chosen.isEmpty {
        let outcomes = try await act(chosen)
        guard (1...chosen.count).contains(outcomes.count) else {
          throw .unexpected(UnexpectedReply(expected: "an outcome for each letter", came: "\(outcomes.count)"))
        }
        for (letter, outcome) in zip(chosen, outcomes) { tally.add(letter, outcome) }
        left -= outcomes.count { $0 == .done }
        chosen = chosen.dropFirst(outcomes.count)
      }
    }
  }

  private func run<Script: ScriptCall>(_ script: Script) async throws(QueueFailure) -> Script.Reply {
    let reply: RedisReply
    do {
      reply = try await client.execute(script, within: deadline)
    } catch {
      throw QueueFailure(error)
    }
    return try QueueFailure.catching { try script.read(reply) }
  }
}

/// An iterator over a shard's dead letters, with one page in memory.
public struct DeadLetterWalk: Sendable {
  private let letters: DeadLetters
  private let order: DeadLetters.Order
  private let end: String
  private var from: String?
  private var page: ArraySlice<FoundLetter> = []

  /// - Parameter last: The last entry of a walk that begins with the oldest.
  init(_ letters: DeadLetters, _ order: DeadLetters.Order, through last: DeadLetter.Entry? = nil) {
    self.letters = letters
    self.order = order
    end = last?.description ?? (order == .newest ? "-" : "+")
    from = order == .newest ? "+" : "-"
  }

  /// Nil at the end.
  public mutating func next() async throws(QueueFailure) -> FoundLetter? {
    if page.isEmpty { page = try await nextPage() ?? [] }
    return page.popFirst()
  }

  /// Never empty; nil at the end.
  mutating func nextPage() async throws(QueueFailure) -> ArraySlice<FoundLetter>? {
    guard let from else { return nil }
    let (found, isLast) = try await letters.page(order, from: from, to: end)
    self.from = isLast ? nil : found.last.map { "(\($0.entry)" }
    return found.isEmpty ? nil : found[...]
  }
}

/// The results of requeueing or discarding.
public struct DeadLetterTally: Sendable, Equatable {
  /// The result for one dead letter.
  public enum Outcome: Sendable {
    case done
    /// Another process took it first.
    case gone
    /// It isn't readable, and stays in the stream.
    case unreadable
  }

  /// The dead letters that were processed, by reason.
  public var done = ReasonCounts()
  public var gone = 0
  public var unreadable = 0
  /// The requested IDs that were found.
  public var metIDs: Set<String> = []

  public init() {}

  mutating func add(_ letter: FoundLetter, _ outcome: Outcome) {
    switch outcome {
    case .done: done.add(letter.reason)
    case .gone: gone += 1
    case .unreadable: unreadable += 1
    }
  }
}

/// The number of dead letters by reason.
public struct ReasonCounts: Sendable, Equatable {
  /// Maximum reasons that are counted separately. Further ones are counted together: reasons may contain numbers, so
  /// there could be any number of them.
  public static let most = 100

  public private(set) var counts: [String: Int] = [:]
  /// The sum of all reasons beyond the first ``most``.
  public private(set) var others = 0
  public private(set) var total = 0

  public init() {}

  public mutating func add(_ reason: String) {
    total += 1
    if counts[reason] != nil || counts.count < Self.most {
      counts[reason, default: 0] += 1
    } else {
      others += 1
    }
  }

  /// The most frequent first.
  public var sorted: [(reason: String, count: Int)] {
    counts.map { (reason: $0.key, count: $0.value) }.sorted { ($1.count, $0.reason) < ($0.count, $1.reason) }
  }
}
