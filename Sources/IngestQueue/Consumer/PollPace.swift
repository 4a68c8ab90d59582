// How often an empty queue is polled. A blocking read would notice a new envelope at once, but a script can't run a
// blocking command. An envelope that left the list outside of the claiming script would belong to no worker if this one
// died then. So the worker polls: fast at first, because a burst is often followed by another, then slower.

/// The pause before the next poll of a queue that was empty.
public struct PollPace: Sendable, Equatable {
  public let shortest: Duration
  public let longest: Duration
  private var next: Duration

  public init(shortest: Duration = .milliseconds(5), longest: Duration = .milliseconds(100)) {
    self.shortest = shortest
    self.longest = longest
    next = shortest
  }

  /// Call it when the queue was empty. Returns the pause before the next poll.
  public mutating func afterEmpty() -> Duration {
    defer { next = min(next * 2, longest) }
    return next
  }

  /// Call it when there was work.
  public mutating func reset() { next = shortest }
}
