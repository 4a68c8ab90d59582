// How long a connection has been in its phase. The deadline moves with each phase, several times for each request; the timer
// is moved only where it would ring too late, so a connection that is busy doesn't touch it.

internal import HTTPFraming
internal import NIOCore

/// The deadline of one connection's phase, and its timer.
struct PhaseClock {
  /// A client that has to send something, and hasn't sent much for so long, may be closed for another.
  static let patience = TimeAmount.seconds(5)
  /// The number of bytes that counts as progress: with less a client could look busy at almost no cost.
  private static let progress = 16 << 10

  /// The one that is timed; nil where its deadline is to be set anew.
  var phase: ConnectionPhase?
  private var deadline = NIODeadline.distantFuture
  private(set) var timer: (at: NIODeadline, task: Scheduled<Void>)?
  /// Bytes of a body since the client was last seen sending.
  private var unnoted = 0

  /// Another phase begins.
  /// - Returns: Whether the timer must be set.
  @discardableResult
  mutating func enter(_ phase: ConnectionPhase, until deadline: NIODeadline = .distantFuture) -> Bool {
    self.phase = phase
    self.deadline = deadline
    return deadline < .distantFuture && timer.map { deadline < $0.at } ?? true
  }

  /// So many bytes of a body have come.
  /// - Returns: Whether that is enough by now to say that the client sends.
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
    /// The deadline has moved: the timer is to be set again.
    case early
    case passed
  }

  /// The timer has rung.
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
