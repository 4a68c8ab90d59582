// How often an empty queue is looked at. A blocking read would be told at once, but nothing that blocks can run in a script,
// and an envelope that left the list outside of the claiming script would be nobody's if the worker died just then. So
// we look, fast at first because after a burst there is often another, then slower.

/// The pause before the next look at a queue that was empty.
public struct PollPace: Sendable, Equatable {
  public let shortest: Duration
  public let longest: Duration
  private var next: Duration

  public init(shortest: Duration = .milliseconds(5), longest: Duration = .milliseconds(100)) {
    self.shortest = shortest
    self.longest = longest
    next = shortest
  }

  /// The queue was empty: how long to wait before the next look.
  public mutating func afterEmpty() -> Duration {
    defer { next = min(next * 2, longest) }
    return next
  }

  /// There was something.
  public mutating func reset() { next = shortest }
}
