// The time that a connection spends in its phase. The deadline moves with each phase, several times for each request.
// The timer is moved only if it would fire too late, so a busy connection doesn't touch it.

internal import HTTPFraming
internal import NIOCore

/// The deadline of one connection's phase, and its timer.
struct PhaseClock {
  /// If a client must send something and hasn't sent much for this time, it may be closed in favour of another.
  static let patience = TimeAmount.seconds(5)
  /// The number of bytes that counts as progress. With a smaller one, a client could look busy at almost no cost.
  private static let progress = 16 << 10

  /// The timed phase; nil if its deadline must be set anew.
  var phase: ConnectionPhase?
  private var deadline = NIODeadline.distantFuture
  private(set) var timer: (at: NIODeadline, task: Scheduled<Void>)?
  /// Bytes of a body since the client's last progress.
  private var unnoted = 0

  /// Another phase begins.
  /// - Returns: Whether the timer must be set.
  @discardableResult
  mutating func enter(_ phase: ConnectionPhase, until deadline: NIODeadline = .distantFuture) -> Bool {
    self.phase = phase
    self.deadline = deadline
    return deadline < .distantFuture && timer.map { deadline < $0.at } ?? true
  }

  /// This number of bytes of a body has arrived.
  /// - Returns: Whether the bytes so far are enough to count as progress.
  mutating func progressed(by bytes: Int) -> Bool {
    unnoted += bytes
    guard unnoted >= Self.progress else { return false }
    unnoted = 0
    return true
  }

  mutating func setTimer(on eventLoop: any EventLoop, _ ring: @escaping () -> Void) {
    timer?.task.cancel()
    timer = (deadline, eventLoop.assumeIsolated().scheduleTask(deadline: deadline, ring))
  }

  enum Ring {
    /// There is no deadline any more.
    case nothing
    /// The deadline has moved: the timer must be set again.
    case early
    case passed
  }

  /// The timer has fired.
  mutating func rang(at now: NIODeadline) -> Ring {
    timer = nil
    if deadline == .distantFuture { return .nothing }
    return deadline <= now ? .passed : .early
  }

  mutating func stop() {
    timer?.task.cancel()
    timer = nil
    deadline = .distantFuture
  }
}
