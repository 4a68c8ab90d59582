// Tells Redis how many bytes one event loop has pushed to a shard; see QueueBytes.swift for what becomes of it.
//
// Bytes are told after they were pushed, many batches together, so a push costs an addition. What Redis doesn't take is
// told again later. After an unknown outcome bytes count as pushed: a count that is too high is put right sooner than
// one that is too low.

internal import Hiredis
internal import NIOCore
internal import RedisClient

/// What one event loop has pushed to a shard and not told yet. Lives on the event loop.
final class PushedBytes {
  /// From so many bytes on they are told at once.
  static let most: Int64 = 64 << 10
  /// Fewer are told after this time.
  static let delay = TimeAmount.seconds(1)

  /// Where to say that Redis refuses to count.
  var mark: HighMark?

  private let client: RedisClient
  private let key: String
  /// For one answer of Redis.
  private let deadline: TimeAmount
  private var untold = [Int64](repeating: 0, count: QueueLayout.lists)
  private var sum: Int64 = 0
  /// Told, and not answered yet.
  private var unanswered = [Int64](repeating: 0, count: QueueLayout.lists)
  private var telling: EventLoopFuture<Void>?
  private var hasTimer = false
  /// Then only the timer tries again.
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

  /// What may be missing in what Redis has counted, list by list. Nothing where Redis doesn't count: then this only
  /// grows, and workers may have taken away most of it.
  var uncounted: [Int64] { hasFailed ? untold.map { _ in 0 } : zip(untold, unanswered).map(+) }

  /// Tells it now if it is much, and else after a time. What comes while Redis is being told goes with the next.
  private func tellSoon() {
    guard telling == nil, sum > 0 else { return }
    if sum >= Self.most, !hasFailed {
      tell()
    } else if !hasTimer {
      startTimer()
    }
  }

  /// Tells all that there is. The future completes when Redis has answered or can't be asked; it never fails.
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
        // Redis is away, and others say so.
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
