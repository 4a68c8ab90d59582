// Stores payloads in a table of PostgreSQL. It uses one connection, and sends the waiting batches of all lanes as one
// statement: more connections would divide the batches and multiply the commits.
//
// Opening the sink doesn't connect: if the database is down when a worker starts, the worker behaves as if the database
// had gone down later.

/// Stores payloads in a table of a PostgreSQL database, which is created if it doesn't exist.
public final class PostgresSink: Sink {
  private let commits: GroupCommit<PostgresStore>
  public let name: String

  /// - Parameters:
  ///   - connectDeadline: For opening a connection, once the host's address is known.
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
