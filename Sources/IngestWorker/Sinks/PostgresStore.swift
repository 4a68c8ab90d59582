// Stores batches in a table, with one statement for each batch, which is its own transaction. If the server rejects a
// row, it rejects the whole statement and doesn't say which row. Then the batch is halved until the row is alone. One
// bad row of a thousand costs twenty statements. Bad rows are rare, so that is cheaper than a savepoint around each row
// of every batch.
//
// If an error may be about a row or about the server (a trigger may raise any error), `GroupCommit` halves the batch,
// and decides by the other rows' results.

internal import IngestQueue
import PostgresClient

extension CancellationCheck: CallerPatience {}

struct PostgresStore: BlockingStore {
  private let address: PostgresAddress
  private let connectDeadline: Duration
  private let deadline: Duration
  private var connection: PostgresConnection?

  private static let statement = "sluice_insertion"
  /// Maximum bytes of bodies in one statement; a larger body is stored alone.
  private static let mostBytes = 16 << 20
  /// A value in PostgreSQL is smaller than 1 GiB.
  private static let largestBody = 1_000_000_000

  init(_ address: PostgresAddress, connectDeadline: Duration, deadline: Duration) {
    self.address = address
    self.connectDeadline = connectDeadline
    self.deadline = deadline
  }

  mutating func store(_ deliveries: [Delivery], _ patience: CancellationCheck) throws(SinkFailure) -> [SinkOutcome] {
    do throws(PostgresFailure) {
      let connection = try connected(patience)
      var outcomes: [SinkOutcome] = deliveries.map { delivery in
        Self.objection(to: delivery).map { .failed(reason: $0, retryable: false) } ?? .duplicate
      }
      var rest = deliveries.indices.filter { outcomes[$0] == .duplicate }[...]
      while !rest.isEmpty {
        var bytes = 0
        let part = rest.prefix { place in
          bytes += deliveries[place].body.bytes.count
          return bytes <= Self.mostBytes
        }
        let places = part.isEmpty ? rest.prefix(1) : part
        try Self.insert(places, of: deliveries, connection, patience, &outcomes)
        rest = rest.dropFirst(places.count)
      }
      return outcomes
    } catch {
      // Whatever the error was, the next statement uses a new connection. After a failover it leads to the new primary.
      connection = nil
      throw SinkFailure(
        "a batch of \(deliveries.count) was not stored: \(error.words)", cause: Self.cause(of: error))
    }
  }

  mutating func close() { connection = nil }

  // MARK: Connecting

  private mutating func connected(_ patience: CancellationCheck) throws(PostgresFailure) -> PostgresConnection {
    if let connection, connection.isOpen { return connection }
    connection = nil
    var options = address.options.filter { $0.keyword != "client_encoding" }
    options.append(.init(keyword: "client_encoding", value: "UTF8"))
    if !options.contains(where: { $0.keyword == "application_name" }) {
      options.append(.init(keyword: "application_name", value: "ingest-worker"))
    }
    let new = try PostgresConnection(options, connectDeadline: connectDeadline, deadline: deadline, patience)
    try Self.expectDurability(new, deadline: deadline, patience)
    let table = PostgresTable(name: address.table)
    try table.migrate(new, patience)
    try new.prepare(Self.statement, table.insertion, patience)
    connection = new
    return new
  }

  /// A sink that only seems safe is worse than none.
  private static func expectDurability(
    _ connection: PostgresConnection, deadline: Duration, _ patience: CancellationCheck
  ) throws(PostgresFailure) {
    var values = PostgresValues()
    // The server's own deadline is a little earlier: when ours is over, the statement has certainly ended.
    values.add("\(max(Int(deadline / .milliseconds(1)) - 500, 1))")
    let rows = try connection.run(
      """
      SELECT set_config('statement_timeout', $1::text, false), current_setting('fsync'),
        CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
      """, patience, with: values)
    guard rows.first?[1] == Array("on".utf8) else {
      throw .broken("the server runs with fsync = off: what is stored in it doesn't survive a crash")
    }
  }

  // MARK: Rows

  /// The reason why no table can store a delivery, if there is one. It is found here, before the server rejects the
  /// whole batch.
  private static func objection(to delivery: Delivery) -> String? {
    let header = delivery.header
    let texts = [
      ("account", header.account), ("key_id", header.key), ("content_type", header.contentType),
      ("content_encoding", header.contentEncoding), ("path", header.path), ("node", header.node),
      ("traceparent", header.traceparent),
    ]
    for (column, text) in texts where text?.utf8.contains(0) == true {
      return "\(column) contains a NUL byte, which PostgreSQL's text type doesn't allow"
    }
    guard microseconds(header.receivedAt) != nil else {
      return "received_at is \(header.receivedAt) ms since 1970, which is out of PostgreSQL's range"
    }
    let size = delivery.body.bytes.count
    return size > largestBody ? "the body has \(size) bytes, and PostgreSQL takes \(largestBody)" : nil
  }

  /// Microseconds since 2000, PostgreSQL's epoch.
  private static func microseconds(_ milliseconds: Int64) -> Int64? {
    let (since1970, overflowed) = milliseconds.multipliedReportingOverflow(by: 1_000)
    // PostgreSQL's times begin in 4713 BC, and end later than 64 bits of microseconds since 1970.
    guard !overflowed, since1970 >= -210_866_803_200_000_000 else { return nil }
    return since1970 - 946_684_800_000_000
  }

  /// Stores the rows with these indices, and records their results.
  private static func insert(
    _ places: ArraySlice<Int>, of deliveries: [Delivery], _ connection: PostgresConnection,
    _ patience: CancellationCheck,
    _ outcomes: inout [SinkOutcome]
  ) throws(PostgresFailure) {
    let rows: [[[UInt8]?]]
    do throws(PostgresFailure) {
      rows = try connection.run(prepared: statement, patience, with: values(of: places.map { deliveries[$0] }))
    } catch .refused(let state, let message) where concernsRows(state) {
      guard places.count > 1 else {
        let reason = PostgresFailure.refused(state: state, message: message).words
        for place in places { outcomes[place] = .failed(reason: reason, retryable: false) }
        return
      }
      let half = places.count / 2
      try insert(places.prefix(half), of: deliveries, connection, patience, &outcomes)
      try insert(places.dropFirst(half), of: deliveries, connection, patience, &outcomes)
      return
    }
    var stored = Set(rows.compactMap { $0[0] })
    for place in places {
      // If two rows have the same ID, the first one is the stored one.
      let isNew = stored.remove(bytes(of: deliveries[place].header.id)) != nil
      outcomes[place] = isNew ? .stored : .duplicate
    }
  }

  /// Whether an error is about the values of a row: bad data (22), a constraint (23), a value too large for an index,
  /// or an error raised by a trigger. All other errors are about the server, the table or the account.
  private static func concernsRows(_ state: String) -> Bool {
    state.hasPrefix("22") || state.hasPrefix("23") || state == "54000" || state == "P0001"
  }

  /// An error of the insertion may be about a row, unless it is about the server: connections (08), transactions (25,
  /// 40), rights (28), databases (3D), resources (53), locks (55), an operator or a time-out (57), or the system (58).
  private static func cause(of failure: PostgresFailure) -> SinkFailure.Cause {
    guard case .refused(let state, _) = failure else { return .sink }
    if state == "53100" { return .noRoom }
    let isServers = ["08", "25", "28", "3D", "40", "53", "55", "57", "58"].contains { state.hasPrefix($0) }
    return isServers ? .sink : .perhapsPayload
  }

  private static func bytes(of id: EnvelopeID) -> [UInt8] { withUnsafeBytes(of: id.bits.bigEndian) { Array($0) } }

  private static func values(of rows: [Delivery]) -> PostgresValues {
    var values = PostgresValues()
    values.reserve(rows.reduce(0) { $0 + $1.body.bytes.count + 512 })
    func add(_ text: (Delivery) -> String?) {
      values.addArray(of: .text, rows) { row, bytes in
        guard let text = text(row) else { return false }
        bytes.append(contentsOf: text.utf8)
        return true
      }
    }
    values.addArray(of: .uuid, rows) { row, bytes in
      PostgresValues.append(row.header.id.bits, to: &bytes)
      return true
    }
    add(\.header.account)
    add(\.header.key)
    values.addArray(of: .timestamptz, rows) { row, bytes in
      guard let moment = microseconds(row.header.receivedAt) else { return false }
      PostgresValues.append(moment, to: &bytes)
      return true
    }
    add(\.header.contentType)
    add(\.header.contentEncoding)
    add(\.body.undone)
    add(\.header.path)
    add(\.header.node)
    add(\.header.traceparent)
    values.addArray(of: .bytea, rows) { row, bytes in
      bytes.append(contentsOf: row.body.bytes)
      return true
    }
    return values
  }
}
