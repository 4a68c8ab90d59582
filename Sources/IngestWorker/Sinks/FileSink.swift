// Stores payloads in files of lines of JSON, for programs that load them elsewhere in bulk. A file is finished when it
// is large or old enough, then compressed and renamed into place: a file that ends in `.zst` is complete and never
// changes again.
//
// Idempotent within a window: it recognises an ID in the open file, or in one that was finished in the last 15 minutes
// (see `RecentIDs`). A program that needs more compares IDs when it loads the files.

internal import Dispatch
internal import IngestQueue
public import Logging

/// Stores payloads in files of a folder that only this process may use.
public final class FileSink: Sink {
  private let commits: GroupCommit<FileStore>
  public let name: String

  /// Creates the folder if it doesn't exist; its parent must exist.
  /// - Parameter logger: Logs files that could not be finished or compressed.
  public init(_ address: FileSinkAddress, logger: Logger) throws(SinkFailure) {
    name = "\(address)"
    commits = GroupCommit(name: "sink", try FileStore(address, logger: logger))
    // Otherwise the last lines of a busy hour would be finished only in the next busy hour.
    commits.performMaintenance(each: .seconds(1))
  }

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    try await commits.store(deliveries)
  }

  public func close() async throws(SinkFailure) { try await commits.close() }
}
