// Why a process ends that wasn't told to. Its last report carries that to the fleet: without it a node that couldn't go
// on would look like one that was stopped on purpose, and its log may be gone with its machine.

public import ServiceLifecycle
internal import Synchronization

/// The error that ends a process, for its last report.
public final class FatalError: Sendable {
  /// A report has a limit, and a table a width.
  static let limit = 300

  private let first = Mutex<String?>(nil)

  public init() {}

  /// In words; nil where nothing has failed.
  public var text: String? { first.withLock { $0 } }

  /// The first stays: what fails after it mostly fails because of it.
  public func note(_ error: any Error) {
    let words = "\(error)"
    let text = words.count > Self.limit ? words.prefix(Self.limit - 1) + "…" : words
    first.withLock { $0 = $0 ?? text }
  }

  /// The services, each of which has its error noted before any other is ended because of it.
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
      // Whoever is cancelled has not failed.
      if !(error is CancellationError) { fatal.note(error) }
      throw error
    }
  }
}
