// Whether the fleet sees a process: what its heartbeat knows and its own status page shows.

internal import Synchronization

/// What became of a process's last report to the fleet.
public final class Registration: Sendable {
  public enum State: Sendable, Equatable {
    /// There was no report yet.
    case pending
    /// The last report was taken: `sync-status` shows this process.
    case registered
    /// The last report wasn't taken; why, in words.
    case failed(String)
  }

  private let current = Mutex(State.pending)

  public init() {}

  public var state: State { current.withLock { $0 } }

  /// - Returns: What it was before.
  func note(_ state: State) -> State {
    current.withLock { current in
      defer { current = state }
      return current
    }
  }
}

extension Registration.State {
  /// Why the last report wasn't taken; nil where it was, or there was none.
  public var problem: String? {
    if case .failed(let problem) = self { problem } else { nil }
  }
}
