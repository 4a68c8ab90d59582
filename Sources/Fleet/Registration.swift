// Whether the fleet sees a process: the heartbeat writes it and the process's status page shows it.

internal import Synchronization

/// The result of a process's last report to the fleet.
public final class Registration: Sendable {
  public enum State: Sendable, Equatable {
    /// There was no report yet.
    case pending
    /// The last report was accepted: `sync-status` shows this process.
    case registered
    /// The last report was rejected; the reason as text.
    case failed(String)
  }

  private let current = Mutex(State.pending)

  public init() {}

  public var state: State { current.withLock { $0 } }

  /// - Returns: The previous state.
  func note(_ state: State) -> State {
    current.withLock { current in
      defer { current = state }
      return current
    }
  }
}

extension Registration.State {
  /// Why the last report was rejected; nil if it was accepted, or there was none.
  public var problem: String? {
    if case .failed(let problem) = self { problem } else { nil }
  }
}
