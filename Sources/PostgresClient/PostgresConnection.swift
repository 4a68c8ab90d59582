// One connection to PostgreSQL through libpq's non-blocking interface: PQsend…, poll, PQconsumeInput. libpq's blocking
// interface has no deadlines. Only the DNS lookup still blocks.
//
// After a deadline or a cancelled task the server is asked to stop the statement, on a separate thread, because
// PQcancel opens a connection without a deadline. Without that, a statement that waits for a lock would keep its
// connection at the server, and each retry would use another one.

internal import CPostgres
internal import Foundation

/// An error of a connection.
public enum PostgresFailure: Error {
  /// The server answered with an error. The connection is still usable.
  case refused(state: String, message: String)
  /// The connection is closed, and the outcome of the statement is unknown. The reason is text.
  case broken(String)

  /// As text for an operator, without values of rows.
  public var words: String {
    switch self {
    case .refused(let state, let message): "PostgreSQL's error \(state), \(message)"
    case .broken(let why): why
    }
  }
}

/// Whether a caller still waits for a statement.
public protocol CallerPatience: Sendable {
  /// Whether no caller waits any more, so that the statement is cancelled.
  var isOver: Bool { get }
}

/// A caller that waits until the deadline.
public struct EndlessPatience: CallerPatience {
  public init() {}
  public var isOver: Bool { false }
}

/// A connection. Used by one thread at a time; closed when this object is freed.
public final class PostgresConnection {
  private let connection: OpaquePointer
  private let deadline: Duration
  /// The time after a statement's own deadline, or after a cancellation, in which the server may confirm the end.
  private static let grace = Duration.seconds(1)
  /// The interval of checks whether a caller still waits.
  private static let glance = Duration.milliseconds(20)

  /// Connects.
  /// - Parameters:
  ///   - options: libpq's keywords and values.
  ///   - connectDeadline: For the whole connect, except the DNS lookup.
  ///   - deadline: For each statement.
  public init(
    _ options: [PostgresOption], connectDeadline: Duration, deadline: Duration, _ patience: any CallerPatience
  ) throws(PostgresFailure) {
    var keywords = options.map { strdup($0.keyword) } + [nil]
    var values = options.map { strdup($0.value) } + [nil]
    defer { for word in keywords + values { free(word) } }
    let started = keywords.withUnsafeMutableBufferPointer { keywords in
      values.withUnsafeMutableBufferPointer { values in
        keywords.withMemoryRebound(to: UnsafePointer<CChar>?.self) { keywords in
          values.withMemoryRebound(to: UnsafePointer<CChar>?.self) { values in
            PQconnectStartParams(keywords.baseAddress, values.baseAddress, 0)
          }
        }
      }
    }
    guard let started else { throw .broken("libpq is out of memory") }
    connection = started
    self.deadline = deadline
    let end = ContinuousClock.now + connectDeadline
    var next = PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
    while next != PGRES_POLLING_OK {
      guard next != PGRES_POLLING_FAILED else { throw .broken(lastWords) }
      guard try wait(for: next == PGRES_POLLING_READING ? POLLIN : POLLOUT, until: end, patience) else {
        throw .broken(patience.isOver ? "it was cancelled" : "PostgreSQL didn't answer within \(connectDeadline)")
      }
      next = PQconnectPoll(connection)
    }
    // libpq's default receiver prints the server's notices, including values of rows, to standard error.
    PQsetNoticeReceiver(connection, { _, _ in }, nil)
    guard PQsetnonblocking(connection, 1) == 0 else { throw .broken(lastWords) }
  }

  deinit { PQfinish(connection) }

  /// Whether the connection can be used, as far as known without a request to the server. A server that ends first
  /// sends a reason and then closes: the first check reads the message, and the second finds the connection closed.
  public var isOpen: Bool {
    PQconsumeInput(connection) == 1 && PQconsumeInput(connection) == 1 && PQstatus(connection) == CONNECTION_OK
  }

  /// Runs one statement.
  /// - Returns: The rows, their values in PostgreSQL's binary form.
  public func run(
    _ statement: String, _ patience: any CallerPatience, with values: PostgresValues = PostgresValues()
  ) throws(PostgresFailure) -> [[[UInt8]?]] {
    try converse(patience) {
      values.withPointers { count, pointers, lengths, formats in
        PQsendQueryParams(connection, statement, count, nil, pointers, lengths, formats, 1)
      }
    }
  }

  /// Prepares a statement under a name, for ``run(prepared:_:with:)``.
  public func prepare(_ name: String, _ statement: String, _ patience: any CallerPatience) throws(PostgresFailure) {
    _ = try converse(patience) { PQsendPrepare(connection, name, statement, 0, nil) }
  }

  /// Runs a statement that was prepared.
  /// - Returns: As ``run(_:_:with:)``.
  public func run(
    prepared name: String, _ patience: any CallerPatience, with values: PostgresValues
  ) throws(PostgresFailure) -> [[[UInt8]?]] {
    try converse(patience) {
      values.withPointers { count, pointers, lengths, formats in
        PQsendQueryPrepared(connection, name, count, pointers, lengths, formats, 1)
      }
    }
  }

  /// The names of the columns that a statement returns. The statement is prepared, but not run.
  public func columns(of statement: String, _ patience: any CallerPatience) throws(PostgresFailure) -> [String] {
    try prepare("", statement, patience)
    var names: [String] = []
    _ = try converse(patience) {
      PQsendDescribePrepared(connection, "")
    } take: { result in
      names = (0..<PQnfields(result)).map { column in PQfname(result, column).map { String(cString: $0) } ?? "" }
    }
    return names
  }

  /// Waits for a notification on any channel that this connection listens to.
  /// - Returns: False if there was none within the time.
  public func notification(
    within limit: Duration, _ patience: any CallerPatience
  ) throws(PostgresFailure) -> Bool {
    let end = ContinuousClock.now + limit
    while true {
      guard PQconsumeInput(connection) == 1, PQstatus(connection) == CONNECTION_OK else { throw .broken(lastWords) }
      var hasCome = false
      while let notification = PQnotifies(connection) {
        PQfreemem(notification)
        hasCome = true
      }
      if hasCome { return true }
      guard try wait(for: POLLIN, until: end, patience) else { return false }
    }
  }

  // MARK: Statements

  /// Sends a statement, and reads all its results.
  /// - Parameter take: Called with each successful result without rows.
  private func converse(
    _ patience: any CallerPatience, _ send: () -> Int32, take: (OpaquePointer) -> Void = { _ in }
  ) throws(PostgresFailure) -> [[[UInt8]?]] {
    guard send() == 1 else { throw .broken(lastWords) }
    let end = ContinuousClock.now + deadline
    var unsent = PQflush(connection)
    while unsent == 1 {
      try answer(POLLIN | POLLOUT, until: end, patience)
      // The server may wait to send an answer before it reads more.
      guard PQconsumeInput(connection) == 1 else { throw .broken(lastWords) }
      unsent = PQflush(connection)
    }
    guard unsent == 0 else { throw .broken(lastWords) }
    var rows: [[[UInt8]?]] = []
    var refusal: PostgresFailure?
    while true {
      while PQisBusy(connection) == 1 {
        try answer(POLLIN, until: end, patience)
        guard PQconsumeInput(connection) == 1 else { throw .broken(lastWords) }
      }
      guard let result = PQgetResult(connection) else { break }
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_TUPLES_OK: rows += Self.rows(of: result)
      case PGRES_COMMAND_OK: take(result)
      default: refusal = refusal ?? self.refusal(in: result)
      }
    }
    if let refusal { throw refusal }
    guard PQstatus(connection) == CONNECTION_OK else { throw .broken(lastWords) }
    return rows
  }

  /// Waits for the socket. After the deadline, asks the server to stop.
  private func answer(_ events: Int32, until end: ContinuousClock.Instant, _ patience: any CallerPatience)
    throws(PostgresFailure)
  {
    if try wait(for: events, until: end, patience) { return }
    let why = patience.isOver ? "it was cancelled" : "PostgreSQL didn't answer within \(deadline)"
    stop()
    // Waits a little longer for the server to stop: otherwise the next statement would wait for the old one's locks.
    let last = ContinuousClock.now + Self.grace
    let endless = EndlessPatience()
    while PQisBusy(connection) == 1, try wait(for: POLLIN, until: last, endless), PQconsumeInput(connection) == 1 {}
    throw .broken(why)
  }

  private func stop() {
    guard let request = PQgetCancel(connection) else { return }
    let cancel = Cancel(request: request)
    Thread.detachNewThread { cancel.send() }
  }

  /// libpq's documentation says that a PGcancel may be used on any thread.
  private struct Cancel: @unchecked Sendable {
    let request: OpaquePointer

    func send() {
      var words = [CChar](repeating: 0, count: 256)
      // The result is ignored: the connection itself shows whether the server has stopped.
      _ = PQcancel(request, &words, Int32(words.count))
      PQfreeCancel(request)
    }
  }

  /// False when the time is over, or if no caller waits any more.
  private func wait(
    for events: Int32, until end: ContinuousClock.Instant, _ patience: any CallerPatience
  ) throws(PostgresFailure) -> Bool {
    let socket = PQsocket(connection)
    guard socket >= 0 else { throw .broken(lastWords) }
    var descriptor = pollfd(fd: socket, events: Int16(events), revents: 0)
    while !patience.isOver {
      let rest = end - .now
      guard rest > .zero else { return false }
      let milliseconds = Int32((min(rest, Self.glance) / .milliseconds(1)).rounded(.up))
      let ready = poll(&descriptor, 1, milliseconds)
      if ready > 0 { return true }
      guard ready == 0 || errno == EINTR else { throw .broken("poll failed: \(String(cString: strerror(errno)))") }
    }
    return false
  }

  // MARK: Reading results

  private static func rows(of result: OpaquePointer) -> [[[UInt8]?]] {
    (0..<PQntuples(result)).map { row in
      (0..<PQnfields(result)).map { column in
        guard PQgetisnull(result, row, column) == 0, let value = PQgetvalue(result, row, column) else { return nil }
        return Array(UnsafeRawBufferPointer(start: value, count: Int(PQgetlength(result, row, column))))
      }
    }
  }

  private func refusal(in result: OpaquePointer) -> PostgresFailure {
    func field(_ code: Character) -> String? {
      PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
    }
    // PG_DIAG_SQLSTATE and PG_DIAG_MESSAGE_PRIMARY: the other fields may hold values.
    guard let state = field("C") else { return .broken(lastWords) }
    return .refused(state: state, message: field("M") ?? "no message")
  }

  /// Several lines, which in a log become one.
  private var lastWords: String {
    let words = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
    let line = words.split(whereSeparator: \.isNewline).map { $0.drop { $0 == " " || $0 == "\t" } }.joined(
      separator: "; ")
    return line.isEmpty ? "the connection to PostgreSQL is closed" : line
  }
}
