// Adds the bytes that one event loop has pushed to a shard to Redis's count; see QueueBytes.swift for its use.
//
// Bytes are added after the push, for many batches in one command, so a push itself costs only an addition in memory.
// If Redis refuses, they are added later. After an unknown outcome bytes count as pushed: a count that is too high is
// corrected sooner than one that is too low.

internal import Hiredis
internal import NIOCore
internal import RedisClient

/// The bytes that one event loop has pushed to a shard and hasn't yet added to Redis's count. Used on that event loop
/// only.
final class PushedBytes {
  /// At this number of bytes they are added at once.
  static let most: Int64 = 64 << 10
  /// Fewer bytes are added after this time.
  static let delay = TimeAmount.seconds(1)

  /// Records that Redis denied counting.
  var mark: HighMark?

  private let client: RedisClient
  private let key: String
  /// Maximum wait for one reply of Redis.
  private let deadline: TimeAmount
  private var untold = [Int64](repeating: 0, count: QueueLayout.lists)
  private var sum: Int64 = 0
  /// Sent to Redis to be added, and not answered yet.
  private var unanswered = [Int64](repeating: 0, count: QueueLayout.lists)
  private var telling: EventLoopFuture<Void>?
  private var hasTimer = false
  /// Whether only the timer tries again.
  private var hasFailed = false

  init(client: RedisClient, layout: QueueLayout, deadline: TimeAmount) {
    self.client = client
    key = layout.bytes
    self.deadline = deadline
  }

  func add(_ bytes: Int, to list: Int) {
    untold[list] += Int64(bytes)
    sum += Int64(bytes)
    tellSoon()
  }

  /// The bytes that may be missing in Redis's count, list by list. 0 after a failure to add them: while Redis refuses,
  /// this sum would only grow, although workers may have taken most of these bytes.
  var uncounted: [Int64] { hasFailed ? untold.map { _ in 0 } : zip(untold, unanswered).map(+) }

  /// Adds the bytes now if they are many, otherwise after a delay. Bytes that are pushed before the reply are added the
  /// next time.
  private func tellSoon() {
    guard telling == nil, sum > 0 else { return }
    if sum >= Self.most, !hasFailed {
      tell()
    } else if !hasTimer {
      startTimer()
    }
  }

  /// Adds all bytes now. The future completes when Redis has answered or can't be asked; it never fails.
  @discardableResult
  func tell() -> EventLoopFuture<Void> {
    if let telling { return telling.assumeIsolated().flatMap { self.tell() }.nonisolated() }
    guard sum > 0 else { return client.eventLoop.makeSucceededVoidFuture() }
    let told = untold.enumerated().filter { $0.element > 0 }
    unanswered = untold
    for (list, _) in told { untold[list] = 0 }
    sum = 0
    let commands = told.map { RedisCommand("HINCRBY", key, $0.offset, $0.element) }
    let answered = client.eventLoop.makePromise(of: Void.self)
    telling = answered.futureResult
    client.send(commands, within: deadline).assumeIsolated().whenComplete { result in
      self.telling = nil
      self.unanswered = self.unanswered.map { _ in 0 }
      self.hasFailed = false
      var problem: String?
      for (index, (list, bytes)) in told.enumerated() {
        switch result.map({ $0[index] }) {
        case .success(.integer): continue
        case .success(.error(let error)): problem = "\(error)"
        case .success(let reply): problem = "expected a number from HINCRBY, got \(reply.shape)"
        // Redis is unreachable, which is reported elsewhere.
        case .failure: break
        }
        self.hasFailed = true
        self.untold[list] += bytes
        self.sum += bytes
      }
      if case .success = result { self.mark?.setCountingProblem(problem) }
      self.tellSoon()
      answered.succeed()
    }
    return answered.futureResult
  }

  private func startTimer() {
    hasTimer = true
    client.eventLoop.assumeIsolated().scheduleTask(in: Self.delay) { [weak self] in
      guard let self else { return }
      hasTimer = false
      tell()
    }
  }
}
