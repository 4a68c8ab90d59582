// The dead letters of a shard: what couldn't be stored, with the reason. Nothing removes one but the people who look after them, and
// with this: read here, put back into the queue when the reason is gone, or thrown away.
//
// There may be millions, and workers add to them meanwhile. So everything goes in steps, from entry to entry, each bounded in
// letters and in bytes, and never is more than one page in memory. After a crash between two steps, what was dealt with is,
// and the rest is where it was.

internal import Hiredis
internal import NIOCore
public import RedisClient

/// Reads, requeues and discards a shard's dead letters.
public struct DeadLetters: Sendable {
  /// Which come first.
  public enum Order: String, Sendable {
    case newest, oldest
  }

  public let layout: QueueLayout
  private let client: RedisClient
  private let deadline = TimeAmount.seconds(5)

  /// Letters in one step.
  static let pageLetters = 500
  /// Once a step has looked at so many bytes it ends: Redis does nothing else while it runs.
  static let stepBytes = 4 << 20

  public init(client: RedisClient, layout: QueueLayout = QueueLayout()) {
    self.client = client
    self.layout = layout
  }

  // MARK: Reading

  /// Goes through all that are there. Those that are added meanwhile come too where the oldest come first.
  public func walk(_ order: Order) -> DeadLetterWalk { DeadLetterWalk(self, order) }

  /// The letters that come next, and where that is the end.
  func page(
    _ order: Order, from: String, to: String, most: Int = pageLetters
  ) async throws(QueueFailure) -> (letters: [FoundLetter], isLast: Bool) {
    let script = DeadLetterPageScript(
      layout: layout, order: order, from: from, to: to, letters: most, bytes: Self.stepBytes)
    let page = try await run(script)
    return (page.letters, page.isLast)
  }

  /// A part of what was in the queue, byte for byte: the envelope's line, a newline, the payload.
  /// - Parameters:
  ///   - offset: Where the part begins, in bytes.
  ///   - most: Bytes; fewer come only at the end.
  /// - Returns: Nil where the letter is gone.
  public func part(
    of entry: DeadLetter.Entry, from offset: Int, most: Int = 4 << 20
  ) async throws(QueueFailure) -> [UInt8]? {
    try await run(DeadLetterPartScript(layout: layout, entry: entry, offset: offset, bytes: most))
  }

  /// Why they are there, of the newest ones.
  public func reasons(ofNewest most: Int) async throws(QueueFailure) -> ReasonCounts {
    var reasons = ReasonCounts()
    var walk = walk(.newest)
    while reasons.total < most, let letter = try await walk.next() { reasons.add(letter.reason) }
    return reasons
  }

  // MARK: Dealing with them

  /// Puts letters back into the queue, the oldest first, behind what waits there, as if they had never failed. Each goes to the list that a
  /// node would choose, so that many of one account are in nobody else's way.
  /// - Parameters:
  ///   - filter: Which of those that are there now.
  ///   - limit: At most so many.
  ///   - tally: Added to after each step, so that what was done is known also where this throws.
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

  /// Throws letters away, what isn't readable as well. As ``requeue(_:limit:tally:)``.
  public func discard(
    _ filter: DeadLetterFilter, limit: Int = .max, tally: inout DeadLetterTally
  ) async throws(QueueFailure) {
    try await sweep(filter, limit: limit, &tally) { letters throws(QueueFailure) in
      try await run(DiscardScript(layout: layout, bytes: Self.stepBytes, entries: letters.map(\.entry)))
    }
  }

  /// Counts letters and changes nothing: what would be done.
  public func count(
    _ filter: DeadLetterFilter, limit: Int = .max, tally: inout DeadLetterTally
  ) async throws(QueueFailure) {
    try await sweep(filter, limit: limit, &tally) { letters throws(QueueFailure) in letters.map { _ in .done } }
  }

  /// Goes through all that are there now, the oldest first.
  /// - Parameter act: Deals with the first of the letters, at least one, and says what came of each.
  private func sweep(
    _ filter: DeadLetterFilter, limit: Int, _ tally: inout DeadLetterTally,
    act: (ArraySlice<FoundLetter>) async throws(QueueFailure) -> [DeadLetterTally.Outcome]
  ) async throws(QueueFailure) {
    // What comes after this one came after we began; a requeued letter that fails again is among them, and would be met for ever.
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

/// The way through a shard's dead letters, one page in memory at a time.
public struct DeadLetterWalk: Sendable {
  private let letters: DeadLetters
  private let order: DeadLetters.Order
  private let end: String
  private var from: String?
  private var page: ArraySlice<FoundLetter> = []

  /// - Parameter last: The last one of a walk that begins with the oldest.
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

/// What was done with dead letters.
public struct DeadLetterTally: Sendable, Equatable {
  /// What came of one.
  public enum Outcome: Sendable {
    case done
    /// Somebody else was there first.
    case gone
    /// It isn't readable, and stays.
    case unreadable
  }

  /// Those that were dealt with as was asked, by their reasons.
  public var done = ReasonCounts()
  public var gone = 0
  public var unreadable = 0
  /// Of the ids that were asked for, those that were met.
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

/// How often each reason is there.
public struct ReasonCounts: Sendable, Equatable {
  /// Further reasons are counted together: they may have numbers in them, and then there is no end of them.
  public static let most = 100

  public private(set) var counts: [String: Int] = [:]
  /// Of all reasons beyond the first ``most``.
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
