// The questions that wait for a proof.
//
// A refusal rests on a read of the store's position that was sent after its request arrived. All waiting questions
// share one read; those that arrive while one is in flight wait for the next. So however many unknown keys arrive,
// Redis sees one read at a time, and a pause after each. When the read is answered with version V, its questions wait
// for the mirror to be at V, which it mostly is. They are answered at exactly V, with the digest that was read. A
// mirror past V may have followed a history that the store has lost in the meantime, because changes arrive on another
// connection than positions. If the mirror is past V, the position is read again.

/// A request that waits for a verdict.
public struct Question: Sendable, Hashable {
  /// The caller's own number for it, returned with the answer.
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
  }

  /// A read of the position that was sent.
  struct Read {
    /// Counted from 1: a late answer to an abandoned read isn't taken for the next one's.
    let number: UInt64
    let sentAt: Instant
    /// The mirror's version at that time: the store can't be behind it unless its history went back.
    let appliedThen: UInt64
    /// How many replicas must have confirmed the write before it.
    let fencedBy: Int
    fileprivate var waiting: [Waiting]

    /// Whether any question rests on it.
    var isWaitedFor: Bool { !waiting.isEmpty }
  }

  private var forNextRead: [Waiting] = []
  private(set) var read: Read?
  /// Answered reads whose version the mirror hasn't reached, oldest first.
  private var forVersion: [(proof: Reached, waiting: [Waiting])] = []

  /// The result of a read.
  struct Reached {
    let position: StorePosition
    let readSentAt: Instant
  }

  private(set) var count = 0

  /// What the next barrier goes on with.
  private(set) var pace: Pace

  /// The numbers of reads, and the time between them: both go on when a barrier ends and another begins.
  struct Pace {
    /// How long after one read the next is sent at the earliest.
    let interval: Duration
    /// Reads that were sent since the start.
    fileprivate(set) var readsSent: UInt64 = 0
    /// Since when the next read may be sent.
    fileprivate var earliestRead: Instant

    init(interval: Duration, now: Instant) {
      self.interval = interval
      earliestRead = now
    }
  }

  init(pace: Pace) { self.pace = pace }

  init(interval: Duration, now: Instant) { self.init(pace: Pace(interval: interval, now: now)) }

  /// Reads that were sent since the start, by this barrier and those before it.
  var readsSent: UInt64 { pace.readsSent }

  mutating func add(_ question: Question, deadline: Instant) {
    count += 1
    forNextRead.append(Waiting(question: question, deadline: deadline))
  }

  /// Whether a read should be sent now.
  func wantsRead(at now: Instant) -> Bool { nextRead.map { $0 <= now } ?? false }

  /// When a read should be sent for somebody; nil where nobody waits for one, or one is on its way.
  var nextRead: Instant? { read == nil && isWaitedFor ? pace.earliestRead : nil }

  /// Whether any question would rest on a read that is sent now.
  var isWaitedFor: Bool { !forNextRead.isEmpty }

  /// Records that a read is sent now: all questions that have arrived so far rest on it.
  mutating func sent(at now: Instant, applied: UInt64, fencedBy: Int = 0) {
    pace.readsSent += 1
    pace.earliestRead = now + pace.interval
    read = Read(number: readsSent, sentAt: now, appliedThen: applied, fencedBy: fencedBy, waiting: forNextRead)
    forNextRead = []
  }

  /// The read got a valid answer: its questions now wait for the version.
  mutating func answered(_ position: StorePosition) {
    guard let answered = read else { return }
    read = nil
    if !answered.waiting.isEmpty {
      forVersion.append((Reached(position: position, readSentAt: answered.sentAt), answered.waiting))
    }
  }

  /// The read was answered and doesn't do, because the mirror is past its version already or it was fenced by too few:
  /// its questions wait for the next one.
  mutating func readAgain() {
    forNextRead = (read?.waiting ?? []) + forNextRead
    read = nil
  }

  /// The read was answered and proves nothing. Its questions are returned.
  mutating func failed() -> [Question] {
    let questions = (read?.waiting ?? []).map(\.question)
    read = nil
    count -= questions.count
    return questions
  }

  /// The questions that wait for this version, each with the result of its read.
  mutating func reached(_ version: UInt64) -> [(question: Question, read: Reached)] {
    guard !forVersion.isEmpty else { return [] }
    var ready: [(Question, Reached)] = []
    forVersion.removeAll { group in
      guard group.proof.position.version == version else { return false }
      ready += group.waiting.map { ($0.question, group.proof) }
      return true
    }
    count -= ready.count
    return ready
  }

  /// The questions that have waited long enough.
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

  /// All questions, because nothing can be proven for a while.
  mutating func giveUp() -> [Question] {
    let all =
      (forVersion.flatMap(\.waiting) + (read?.waiting ?? []) + forNextRead).map(\.question)
    forNextRead = []
    read = nil
    forVersion = []
    count = 0
    return all
  }

  /// All questions have the same timeout, so in each list the first is the first to be late.
  var nextDeadline: Instant? {
    [forNextRead.first, read?.waiting.first].compactMap { $0?.deadline }
      .appending(contentsOf: forVersion.compactMap { $0.waiting.first?.deadline }).min()
  }
}

extension [Instant] {
  fileprivate func appending(contentsOf others: [Instant]) -> [Instant] { self + others }
}
