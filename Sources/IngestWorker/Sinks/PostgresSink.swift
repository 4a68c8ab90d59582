// Stores payloads in a table of PostgreSQL. One connection, on which the batches of all lanes at a time are sent as one
// statement: more connections would divide the batches and multiply the commits.
//
// Opening it connects to nothing: a worker that is started while the database is down behaves as when the database goes
// down later.

/// Stores payloads in a table of a PostgreSQL database, which is created if it doesn't exist.
public final class PostgresSink: Sink {
  private let commits: GroupCommit<PostgresStore>
  public let name: String

  /// - Parameters:
  ///   - connectDeadline: For making a connection, once the host's address is known.
  ///   - deadline: For each statement, including waits for locks.
  public init(
    _ address: PostgresAddress, connectDeadline: Duration = .seconds(10), deadline: Duration = .seconds(30)
  ) {
    name = "\(address)"
    commits = GroupCommit(
      name: "sink", PostgresStore(address, connectDeadline: connectDeadline, deadline: deadline))
  }

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    try await commits.store(deliveries)
  }

  public func close() async throws(SinkFailure) { try await commits.close() }
}
