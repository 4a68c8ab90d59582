// How often an empty queue is polled. A blocking read would return at once, but no blocking command can run in a
// script, and an envelope that left the list outside of the claiming script would belong to nobody if the worker died
// then. So the worker polls, fast at first because after a burst there is often another, then slower.

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

  /// The queue was empty. Returns the pause before the next poll.
  public mutating func afterEmpty() -> Duration {
    defer { next = min(next * 2, longest) }
    return next
  }

  /// There was work.
  public mutating func reset() { next = shortest }
}
