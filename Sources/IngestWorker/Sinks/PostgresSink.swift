// Payloads into a table of PostgreSQL. One connection, on which what all lanes bring at a time goes out as one statement: more
// connections would divide the batches and multiply the commits.
//
// Opening it connects to nobody: a worker that is started while the database is away does what it does when the database goes away later.

/// Stores payloads in a table of a PostgreSQL database, which is made where there is none.
public final class PostgresSink: Sink {
  private let commits: GroupCommit<PostgresStore>
  public let name: String

  /// - Parameters:
  ///   - connectDeadline: For making a connection, from the moment that the host's address is known.
  ///   - deadline: For each statement, waiting for locks included.
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
