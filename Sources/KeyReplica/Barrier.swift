// The requests that wait for a proof, here called questions.
//
// The proof of a refusal is a read of the store's position that was sent after the request arrived. All waiting
// questions share one read; those that arrive while one is in flight wait for the next. So however many unknown keys
// arrive, Redis sees one read at a time, and a pause after each. When the read is answered with version V, its
// questions wait until the mirror is at V. Usually it already is. They are answered at exactly V, with the digest that
// was read. A mirror past V may have followed a history that the store has lost in the meantime, because changes arrive
// on another connection than positions. If the mirror is past V, the position is read again.
//
// A refusal may have to be proven against the source too (--prove-against source). Then the first read that was sent
// after a question's arrival brings Redis's time, and the question waits for a later read with a source mark that isn't
// older than this time. Both are times of Redis's clock. While questions wait for a mark, the position is read each
// markInterval.

/// A request that waits for a verdict.
public struct Question: Sendable, Hashable {
  /// The caller's own number for the question, returned with the answer.
  public var number: UInt64
  public var key: KeyID

  public init(number: UInt64, key: KeyID) {
    self.number = number
    self.key = key
  }
}

struct Barrier {
  struct Waiting {
    let question: Question
    let deadline: Instant
    /// The source mark of the first read after the question's arrival, if the question waits for a later mark.
    var arrival: SourceMark?
  }

  /// A read of the position that was sent and not answered.
  struct Read {
    /// Counted from 1, so that a late answer to an abandoned read isn't used for the next read.
    let number: UInt64
    let sentAt: Instant
    /// The mirror's version when the read was sent. The store can't be behind it, unless its history went back.
    let appliedThen: UInt64
    /// Number of replicas that must confirm the fence: a write before this read. 0 if the read needs no fence, so that
    /// nothing is written before it.
    let fencedBy: Int
    fileprivate var waiting: [Waiting]
    /// Questions that wait for a later source mark, which this read may bring.
    fileprivate var forMark: [Waiting]

    /// Whether any question waits for this read.
    var isWaitedFor: Bool { !waiting.isEmpty || !forMark.isEmpty }
  }

  private var forNextRead: [Waiting] = []
  /// Questions that wait for a later source mark, in the order of their timeouts.
  private var forMark: [Waiting] = []
  private(set) var read: Read?
  /// Answered reads whose version the mirror hasn't reached, oldest first.
  private var forVersion: [(proof: Reached, waiting: [Waiting])] = []

  /// The result of a read.
  struct Reached {
    let position: StorePosition
    let readSentAt: Instant
  }

  /// A question whose read was answered, and whose version the mirror has reached.
  struct Ready {
    fileprivate let waiting: Waiting
    let read: Reached

    var question: Question { waiting.question }
    /// The source mark of the first read after the question's arrival, if this is a later read.
    var arrival: SourceMark? { waiting.arrival }
  }

  private(set) var count = 0

  /// The part of the state that the next barrier continues with.
  private(set) var pace: Pace

  /// The count of reads and the time of the next read. Both continue when a barrier ends and another begins.
  struct Pace {
    /// Minimum time from one read to the next.
    let interval: Duration
    /// Minimum time from one read to the next that is made only for a later source mark.
    let markInterval: Duration
    /// Reads that were sent since the start.
    fileprivate(set) var readsSent: UInt64 = 0
    /// The earliest time at which the next read may be sent.
    fileprivate var earliestRead: Instant
    fileprivate var earliestMarkRead: Instant

    init(interval: Duration, markInterval: Duration = .zero, now: Instant) {
      self.interval = interval
      self.markInterval = markInterval
      earliestRead = now
      earliestMarkRead = now
    }
  }

  init(pace: Pace) { self.pace = pace }

  init(interval: Duration, markInterval: Duration = .zero, now: Instant) {
    self.init(pace: Pace(interval: interval, markInterval: markInterval, now: now))
  }

  /// Number of reads that were sent since the start, by this barrier and earlier ones.
  var readsSent: UInt64 { pace.readsSent }

  mutating func add(_ question: Question, deadline: Instant) {
    count += 1
    forNextRead.append(Waiting(question: question, deadline: deadline))
  }

  /// Whether a read should be sent now.
  func wantsRead(at now: Instant) -> Bool { nextRead.map { $0 <= now } ?? false }

  /// When the next read should be sent; nil if no question waits for one, or if one is in flight.
  var nextRead: Instant? {
    guard read == nil else { return nil }
    if !forNextRead.isEmpty { return pace.earliestRead }
    return forMark.isEmpty ? nil : max(pace.earliestRead, pace.earliestMarkRead)
  }

  /// Whether any question waits for the next read.
  var isWaitedFor: Bool { !forNextRead.isEmpty || !forMark.isEmpty }

  /// Records that a read is sent now, for all questions that have arrived so far.
  mutating func sent(at now: Instant, applied: UInt64, fencedBy: Int = 0) {
    pace.readsSent += 1
    pace.earliestRead = now + pace.interval
    pace.earliestMarkRead = now + pace.markInterval
    read = Read(
      number: readsSent, sentAt: now, appliedThen: applied, fencedBy: fencedBy, waiting: forNextRead, forMark: forMark)
    forNextRead = []
    forMark = []
  }

  /// Records a valid answer: the read's questions now wait until the mirror has its version. Questions that wait for a
  /// later source mark than the answer has go on waiting for one.
  mutating func answered(_ position: StorePosition) {
    guard var answered = read else { return }
    read = nil
    if !answered.forMark.isEmpty {
      for waiting in answered.forMark {
        if let arrival = waiting.arrival, position.coversSource(since: arrival) {
          answered.waiting.append(waiting)
        } else {
          forMark.append(waiting)
        }
      }
      Self.sortByTimeout(&answered.waiting)
      Self.sortByTimeout(&forMark)
    }
    if !answered.waiting.isEmpty {
      forVersion.append((Reached(position: position, readSentAt: answered.sentAt), answered.waiting))
    }
  }

  /// Records that these questions can't be refused without a later source mark.
  mutating func awaitMark(_ questions: [Ready]) {
    count += questions.count
    for ready in questions {
      var waiting = ready.waiting
      // The mark of the first read stays. That of a later one would only delay the refusal.
      waiting.arrival = waiting.arrival ?? ready.read.position.source
      forMark.append(waiting)
    }
    Self.sortByTimeout(&forMark)
  }

  /// Records that the answer can't be used, because the mirror is already past its version or too few replicas
  /// confirmed the write before the read. The read's questions wait for the next read.
  mutating func readAgain() {
    forNextRead = (read?.waiting ?? []) + forNextRead
    forMark = (read?.forMark ?? []) + forMark
    Self.sortByTimeout(&forMark)
    read = nil
  }

  /// Questions may begin to wait for a mark in another order than they arrived: one had to wait longer for its version.
  private static func sortByTimeout(_ waiting: inout [Waiting]) { waiting.sort { $0.deadline < $1.deadline } }

  /// Records that the answer proves nothing.
  /// - Returns: The read's questions.
  mutating func failed() -> [Question] {
    let questions = ((read?.forMark ?? []) + (read?.waiting ?? [])).map(\.question)
    read = nil
    count -= questions.count
    return questions
  }

  /// Removes and returns the questions that wait for this version, each with the result of its read.
  mutating func reached(_ version: UInt64) -> [Ready] {
    guard !forVersion.isEmpty else { return [] }
    var ready: [Ready] = []
    forVersion.removeAll { group in
      guard group.proof.position.version == version else { return false }
      ready += group.waiting.map { Ready(waiting: $0, read: group.proof) }
      return true
    }
    count -= ready.count
    return ready
  }

  /// Removes and returns the questions whose timeout is over while they wait for a later source mark.
  mutating func expiredForMark(at now: Instant) -> [Question] {
    var late: [Question] = []
    func sift(_ waiting: inout [Waiting]) {
      guard let first = waiting.first, first.deadline <= now else { return }
      late += waiting.filter { $0.deadline <= now }.map(\.question)
      waiting.removeAll { $0.deadline <= now }
    }
    sift(&forMark)
    if read != nil { sift(&read!.forMark) }
    count -= late.count
    return late
  }

  /// Removes and returns the questions whose timeout is over while they wait for a read, or for its version.
  mutating func expired(at now: Instant) -> [Question] {
    guard let next = nextDeadline, next <= now else { return [] }
    var late: [Question] = []
    func sift(_ waiting: inout [Waiting]) {
      late += waiting.filter { $0.deadline <= now }.map(\.question)
      waiting.removeAll { $0.deadline <= now }
    }
    sift(&forNextRead)
    if read != nil { sift(&read!.waiting) }
    for index in forVersion.indices { sift(&forVersion[index].waiting) }
    forVersion.removeAll { $0.waiting.isEmpty }
    count -= late.count
    return late
  }

  /// Removes and returns all questions, because nothing can be proven for a while.
  mutating func giveUp() -> [Question] {
    let inRead = (read?.forMark ?? []) + (read?.waiting ?? [])
    let all = (forVersion.flatMap(\.waiting) + inRead + forMark + forNextRead).map(\.question)
    forNextRead = []
    forMark = []
    read = nil
    forVersion = []
    count = 0
    return all
  }

  /// The next timeout of a question. All have the same timeout, so in each list the first question is the first to time
  /// out.
  var nextDeadline: Instant? {
    [forNextRead.first, read?.waiting.first, forMark.first, read?.forMark.first].compactMap { $0?.deadline }
      .appending(contentsOf: forVersion.compactMap { $0.waiting.first?.deadline }).min()
  }
}

extension [Instant] {
  fileprivate func appending(contentsOf others: [Instant]) -> [Instant] { self + others }
}
