// Payloads into files of lines of JSON, for whoever loads them elsewhere in bulk. A file is finished when it is large or old enough, then
// compressed and renamed into place: what ends in `.zst` is whole and never changes again.
//
// Idempotent within a window: an id that is in the open file, or in one that was finished in the last 15 minutes, is known again (see
// `RecentIDs`). Whoever needs more than that looks at the ids when loading.

internal import Dispatch
internal import IngestQueue
public import Logging

/// Stores payloads in files of a folder, which belongs to this process alone.
public final class FileSink: Sink {
  private let commits: GroupCommit<FileStore>
  public let name: String

  /// Makes the folder where there is none; the one above it must exist.
  /// - Parameter logger: Is told of files that could not be finished or compressed.
  public init(_ address: FileSinkAddress, logger: Logger) throws(SinkFailure) {
    name = "\(address)"
    commits = GroupCommit(name: "sink", try FileStore(address, logger: logger))
    // So that the last lines of a busy hour don't wait for the next busy hour.
    commits.performMaintenance(each: .seconds(1))
  }

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    try await commits.store(deliveries)
  }

  public func close() async throws(SinkFailure) { try await commits.close() }
}
