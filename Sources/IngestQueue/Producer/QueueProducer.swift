// Group commit: payloads that arrive while Redis is busy with earlier ones are sent together in one write, and a few
// replies answer them all. So the number of commands, and with `appendfsync always` the number of fsyncs, follows
// Redis's speed and not the number of requests.
//
// A producer belongs to one event loop and has a connection to each shard on the same loop: no lock, no hop between
// threads. Sending is deferred to the end of the loop's turn, so that payloads that several connections receive in one
// turn are sent together even when nothing is in flight. Rejected: a timer that collects for a while. It adds latency
// when there is little to do and gains nothing when there is much.
//
// Shards don't wait for each other: a batch goes to the next one that is connected, not too full and as durable as
// required. A batch that certainly wasn't sent goes to another shard. But nothing that was sent is repeated here: after
// an unknown outcome a second push could add the payload twice. Only the client knows whether it wants that risk, so it
// gets 503.

public import NIOCore
public import RedisClient

/// Pushes payloads onto the queue, many at a time. One for each event loop that accepts requests.
public final class QueueProducer: Sendable {
  /// One shard of the queue, and its client.
  public struct Shard: Sendable {
    /// Runs on the producer's event loop. The caller shuts it down, after ``QueueProducer/drain()``.
    public var client: RedisClient
    public var layout: QueueLayout

    public init(client: RedisClient, layout: QueueLayout) {
      self.client = client
      self.layout = layout
    }
  }

  public let eventLoop: any EventLoop
  private let state: NIOLoopBoundBox<ProducerCore>

  /// - Parameters:
  ///   - shards: At least one; all clients on one event loop.
  ///   - watch: Reports how full and how durable the shards are. It must have the same shards in the same order.
  ///     Without a watch nothing is refused for either reason, and all payloads go to list 0.
  ///   - areAcknowledged: Whether the payloads were acknowledged before. Then they are accepted regardless of their
  ///     accounts' dead letters, and those of accounts with many payloads only up to half of a queue.
  public init(
    shards: [Shard], limits: ProducerLimits = ProducerLimits(), watch: QueueWatch? = nil, areAcknowledged: Bool = false
  ) {
    precondition(!shards.isEmpty, "a queue has at least one shard")
    eventLoop = shards[0].client.eventLoop
    precondition(
      shards.allSatisfy { $0.client.eventLoop === shards[0].client.eventLoop }, "a producer has one event loop")
    let lanes = shards.map {
      ShardLane(
        $0, requirement: watch?.requirement ?? .none, limits: watch?.limits ?? QueueLimits(), deadline: limits.deadline)
    }
    state = NIOLoopBoundBox.makeBoxSendingValue(
      ProducerCore(eventLoop: eventLoop, lanes: lanes, limits: limits, areAcknowledged: areAcknowledged),
      eventLoop: eventLoop)
    watch?.tell { [eventLoop, state] shard, word in
      eventLoop.execute { state.value.learn(word, of: shard) }
    }
  }

  /// A producer of one shard without a watch.
  /// - Parameter client: On the producer's event loop.
  public convenience init(
    client: RedisClient, layout: QueueLayout = QueueLayout(), limits: ProducerLimits = ProducerLimits()
  ) {
    self.init(shards: [Shard(client: client, layout: layout)], limits: limits)
  }

  /// Pushes one payload. The future succeeds once Redis has it, and fails only with ``EnqueueError``, within the
  /// limits' deadline. On the producer's own event loop it needs no hop.
  public func submit(_ header: EnvelopeHeader, payload: ByteBuffer) -> EventLoopFuture<Void> {
    if eventLoop.inEventLoop { return state.value.submit(header, payload: payload) }
    return eventLoop.flatSubmit { [state] in state.value.submit(header, payload: payload) }
  }

  /// Pushes one payload whose line is already encoded, for the hot path: it allocates no object except the waiter. Only
  /// on the producer's event loop.
  /// - Parameters:
  ///   - line: As ``NIOCore/ByteBuffer/writeEnvelopeLine(id:account:key:receivedAt:request:node:)`` writes it.
  ///   - account: The account in the line.
  ///   - payload: Byte for byte.
  ///   - waiter: Called once, later and within the limits' deadline, if the payload is accepted.
  /// - Returns: The reason if it isn't accepted; nil if it is.
  public func submit(
    line: ByteBuffer, account: String, payload: ByteBuffer, waiter: any EnqueueCompletion
  ) -> EnqueueError? {
    state.value.submit(line: line, account: account, payload: payload, waiter: waiter)
  }

  /// Accepts nothing more. Completes within twice the limits' deadline, when all submitted payloads have been answered
  /// and their bytes are counted.
  public func drain() -> EventLoopFuture<Void> {
    if eventLoop.inEventLoop { return state.value.drain() }
    return eventLoop.flatSubmit { [state] in state.value.drain() }
  }

  /// The counters so far. Only on the producer's event loop.
  public var counters: ProducerCounters { state.value.currentCounters }

  /// Why nothing can be pushed now; nil if something can. Only on the producer's event loop.
  public var obstacle: EnqueueError? { state.value.obstacle }
}

/// Gets the result of a push.
public protocol EnqueueCompletion: AnyObject {
  /// Called once, on the producer's event loop: with nil if Redis has the payload, otherwise with the error.
  func pushed(_ failure: EnqueueError?)
}

/// The counters of a producer, and its payloads in progress.
public struct ProducerCounters: Sendable, Equatable {
  /// Batches sent; each is one write.
  public var batches = 0
  /// Commands in them: one for each list that a batch had entries for.
  public var commands = 0
  /// Entries that Redis acknowledged.
  public var entries = 0
  /// Entries that failed, for any reason.
  public var failures = 0
  /// Batches that couldn't be sent to one shard and were sent to another.
  public var movedBatches = 0
  /// Entries that wait to be sent, now.
  public var waitingEntries = 0
  /// Bytes that wait or are in flight, now.
  public var bytes = 0
  /// Shards with a connection, now.
  public var connectedShards = 0

  public init() {}
}
