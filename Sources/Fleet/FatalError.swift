// The error that ended a process, for the fleet to see in the process's last report. Without it, a node that failed
// would look like a node that was stopped on purpose, and its log may be lost with its machine.

public import ServiceLifecycle
internal import Synchronization

/// The error that ends a process, for its last report.
public final class FatalError: Sendable {
  /// Maximum characters: reports have a size limit, and tables have a limited width.
  static let limit = 300

  private let first = Mutex<String?>(nil)

  public init() {}

  /// As text; nil if nothing has failed.
  public var text: String? { first.withLock { $0 } }

  /// Keeps only the first error: later errors are mostly its consequences.
  public func note(_ error: any Error) {
    let words = "\(error)"
    let text = words.count > Self.limit ? words.prefix(Self.limit - 1) + "…" : words
    first.withLock { $0 = $0 ?? text }
  }

  /// Wraps the services so that the error of one is noted before the others are ended because of it.
  public func noting(_ services: [any Service]) -> [any Service] {
    services.map { NotingService(service: $0, fatal: self) }
  }
}

private struct NotingService: Service {
  let service: any Service
  let fatal: FatalError

  func run() async throws {
    do {
      try await service.run()
    } catch {
      // A cancelled service hasn't failed.
      if !(error is CancellationError) { fatal.note(error) }
      throw error
    }
  }
}
