import GRDB

/// Looks into a sink's file from outside.
enum Stored {
  static func rows(_ path: String) async throws -> [StoredDelivery] {
    try await read(path) { db in
      try Row.fetchAll(db, sql: "SELECT * FROM payloads ORDER BY received_at, id").map { StoredDelivery($0) }
    }
  }

  static func count(_ path: String) async throws -> Int {
    try await read(path) { try Int.fetchOne($0, sql: "SELECT count(*) FROM payloads") ?? 0 }
  }

  static func read<Value: Sendable>(
    _ path: String, _ body: @escaping @Sendable (Database) throws -> Value
  ) async throws -> Value {
    try await queue(path).read(body)
  }

  static func write(_ path: String, _ body: @escaping @Sendable (Database) throws -> Void) async throws {
    try await queue(path).write(body)
  }

  private static func queue(_ path: String) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    return try DatabaseQueue(path: path, configuration: configuration)
  }
}

/// Holds the write lock of a sink's file, as another process might.
final class SinkLock {
  private let queue: DatabaseQueue

  init(_ path: String) throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    // A lock that outlasts an access is what this is for.
    configuration.allowsUnsafeTransactions = true
    queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.inDatabase { try $0.beginTransaction(.immediate) }
  }

  func release() throws {
    try queue.inDatabase { try $0.rollback() }
  }
}
