// The places that sinks store into, all of them real, and the faults of each: unreachable, back again, slow, rejecting
// payloads. Tests read the stored payloads without the sink.

import BodyCoding
import Foundation
import GRDB
import IngestQueue
import QueueFixture
import RedisFixture
import Synchronization

@testable import IngestWorker

/// Each kind of sink.
enum SinkKind: String, CaseIterable, Sendable {
  case sqlite, postgres, http, ndjson, files

  /// The kinds that report which payloads were stored already.
  static let tellDuplicates: [SinkKind] = [.sqlite, .postgres, .files]
  /// The kinds in which some payloads can't be stored while all others can.
  static let canRefuse: [SinkKind] = [.sqlite, .postgres, .http, .ndjson]
  /// Where somebody else can keep it waiting.
  static let canBeHeld = canRefuse

  func place() async throws -> any SinkPlace {
    switch self {
    case .sqlite: try SQLitePlace()
    case .postgres: PostgresPlace(try await PostgresServer.start())
    case .http: HTTPPlace(try await PayloadReceiver.start(), query: "")
    case .ndjson: HTTPPlace(try await PayloadReceiver.start(), query: "?batch=ndjson")
    case .files: try FilesPlace()
    }
  }
}

protocol SinkPlace: Sendable {
  /// As an operator would write it.
  var address: String { get }
  /// The stored payloads, in the order of receipt.
  func stored() async throws -> [StoredDelivery]
  /// What is stored of a delivery, for what this kind keeps.
  func expected(_ delivery: Delivery) -> StoredDelivery
  func goAway() async throws
  func comeBack() async throws
  /// From now on nothing can be stored, and no error is reported, until ``release()``.
  func hold() async throws
  func release() async throws
  /// From now on no payload of the account "refused" can be stored. The sink has been used before.
  func refuse() async throws
}

extension SinkPlace {
  func open() throws -> any Sink { try SinkAddress(address).open(logger: .silent) }
  func expected(_ delivery: Delivery) -> StoredDelivery { StoredDelivery(delivery) }
  func hold() async throws {}
  func release() async throws {}
  func refuse() async throws {}
}

final class SQLitePlace: SinkPlace {
  private let folder: TemporaryFolder
  private let lock = Mutex<SinkLock?>(nil)

  init() throws { folder = try TemporaryFolder() }

  private var path: String { folder.path("sink.db") }
  var address: String { "sqlite:\(path)" }

  func stored() async throws -> [StoredDelivery] { try await Stored.rows(path) }

  /// A locked SQLite file stands for an unreachable sink.
  func goAway() async throws { try await hold() }
  func comeBack() async throws { try await release() }
  func hold() async throws { try lock.withLock { $0 = try SinkLock(path) } }
  func release() async throws {
    try lock.withLock { lock in
      try lock?.release()
      lock = nil
    }
  }

  func refuse() async throws {
    try await Stored.write(path) { db in
      try db.execute(
        sql: """
          CREATE TRIGGER refusal BEFORE INSERT ON payloads WHEN NEW.account = 'refused'
          BEGIN SELECT RAISE(ABORT, 'an account that we don''t serve'); END
          """)
    }
  }
}

final class PostgresPlace: SinkPlace {
  let server: PostgresServer
  private let holder = Mutex<Task<Void, any Error>?>(nil)

  init(_ server: PostgresServer) { self.server = server }

  var address: String { "\(server.address)?table=payloads" }

  func stored() async throws -> [StoredDelivery] {
    func hex(_ column: String) -> String { "coalesce(encode(convert_to(\(column), 'UTF8'), 'hex'), 'null')" }
    let columns = [
      "id", hex("account"), hex("key_id"), "(extract(epoch from received_at) * 1000)::bigint", hex("content_type"),
      hex("content_encoding"), hex("undone"), hex("path"), hex("node"), hex("traceparent"), "encode(body, 'hex')",
    ]
    return try await server.query("SELECT \(columns.joined(separator: ", ")) FROM payloads ORDER BY received_at, id")
      .map { try StoredDelivery(columns: $0) }
  }

  func goAway() async throws { try await server.crash() }
  func comeBack() async throws { try await server.restart() }

  func hold() async throws {
    let server = server
    // Another session locks the whole table until `release()`.
    holder.withLock {
      $0 = Task { try await server.query("BEGIN; LOCK TABLE payloads; SELECT pg_sleep(600); COMMIT") }
    }
    try await eventually("the table is locked") {
      try await server.query(
        "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'payloads'::regclass AND granted"
      ).count == 1
    }
  }

  func release() async throws {
    try await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
    )
    let holder = holder.withLock { $0 }
    _ = await holder?.result
  }

  func refuse() async throws {
    try await server.query("ALTER TABLE payloads ADD CONSTRAINT served CHECK (account <> 'refused')")
  }
}

final class HTTPPlace: SinkPlace {
  let receiver: PayloadReceiver
  private let query: String

  init(_ receiver: PayloadReceiver, query: String) {
    self.receiver = receiver
    self.query = query
  }

  var address: String { "http://127.0.0.1:\(receiver.port)/ingest\(query)" }
  func stored() async throws -> [StoredDelivery] { receiver.stored }

  func expected(_ delivery: Delivery) -> StoredDelivery {
    var expected = StoredDelivery(delivery)
    guard query.isEmpty else { return expected }
    // In a header there are only the key's first digits, and not what was undone.
    expected.keyID = String(expected.keyID.prefix(16))
    expected.undone = nil
    return expected
  }

  func goAway() async throws { try await receiver.goAway() }
  func comeBack() async throws { try await receiver.listen() }
  func hold() async throws { receiver.hold() }
  func release() async throws { receiver.release() }
}

final class FilesPlace: SinkPlace {
  private let parent: TemporaryFolder
  private let query: String

  init(query: String = "") throws {
    parent = try TemporaryFolder()
    self.query = query
  }

  var folder: String { parent.path("payloads") }
  var address: String { "files:\(folder)\(query)" }

  func stored() async throws -> [StoredDelivery] {
    try Self.files(in: folder).flatMap { try StoredDelivery.lines($0.contents) }
      .sorted { ($0.receivedAt, $0.id) < ($1.receivedAt, $1.id) }
  }

  /// The files that a reader would look at, decompressed.
  static func files(in folder: String) throws -> [(name: String, contents: [UInt8])] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    return try names.filter { $0.hasPrefix("payloads") && !$0.hasSuffix(".part") }.sorted().compactMap { name in
      // One that has just been compressed is there in both forms for a moment.
      if names.contains(name + ".zst") { return nil }
      let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))
      guard name.hasSuffix(".zst") else { return (name, Array(data)) }
      let bounds = DecodedBounds(bytes: 1 << 30, ratio: 100_000)
      return (name, try Decompression.decode(Array(data).span.bytes, as: .zstd, within: bounds))
    }
  }

  func goAway() async throws { try FileManager.default.moveItem(atPath: folder, toPath: folder + ".away") }
  func comeBack() async throws { try FileManager.default.moveItem(atPath: folder + ".away", toPath: folder) }
}
