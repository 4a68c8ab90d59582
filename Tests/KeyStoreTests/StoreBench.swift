// A key store in a Redis of its own, with a writer, and with an independent check that reads and counts it with plain
// commands.

import Crypto
import Hiredis
import KeyReplica
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

@testable import KeyStore

struct StoreBench {
  let redis: RedisServer
  let connection: RedisConnection
  let layout: StoreLayout
  let writer: KeyStoreWriter

  static let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.any()

  static func with(
    _ options: RedisServerOptions = RedisServerOptions(), _ body: (StoreBench) async throws -> Void
  ) async throws {
    try await withRedis(options) { redis in
      let bench = try await StoreBench(redis)
      try await body(bench)
      bench.connection.close()
    }
  }

  init(_ redis: RedisServer, changesKept: Int = 100_000) async throws {
    self.redis = redis
    connection = try await RedisConnection.connected(to: redis.endpoint, on: Self.loop)
    layout = StoreLayout()
    writer = KeyStoreWriter(connection: connection, layout: layout, changesKept: changesKept)
  }

  /// A command's reply; an error reply is thrown.
  @discardableResult
  func run(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisReply {
    try await connection.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }

  func put(_ secrets: [String], account: String = "acme") async throws {
    for start in stride(from: 0, to: secrets.count, by: KeyStoreWriter.batchLimit) {
      let batch = secrets[start..<min(start + KeyStoreWriter.batchLimit, secrets.count)]
      _ = try await writer.apply(batch.map { .put($0, account) })
    }
  }

  func bucket(of secret: String) -> String {
    layout.bucket(KeyID(secret: secret.utf8).bucket(of: StoreLayout.bucketCount))
  }

  /// How often Redis has answered with each error.
  func errors() async throws -> [String: Int] {
    let lines = try await run("INFO", "errorstats").string().split(whereSeparator: \.isNewline)
    return try lines.filter { $0.hasPrefix("errorstat_") }.reduce(into: [:]) { errors, line in
      // "errorstat_NOSCRIPT:count=2"
      let parts = line.dropFirst("errorstat_".count).split(separator: ":count=")
      guard parts.count == 2, let count = Int(parts[1]) else {
        throw NeverHappened(description: "INFO errorstats has the line \(line)")
      }
      errors[String(parts[0])] = count
    }
  }

  // MARK: The independent eye

  struct Count: Equatable {
    var records = 0
    var digest: [UInt8] = Array(repeating: 0, count: 16)

    mutating func add(_ id: [UInt8], _ record: [UInt8]) {
      records += 1
      let hash = Array(Insecure.SHA1.hash(data: id + record))
      for index in digest.indices { digest[index] ^= hash[index] }
    }

    var text: String {
      "\(records) " + digest.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
  }

  /// The contradictions in the store, found by counting the records.
  func discrepancies() async throws -> [String] {
    var wrong: [String] = []
    var total = Count()
    var latest = 0
    let meta = try await run("HMGET", layout.meta, "version", "count", "digest").array().map { try $0.stringOrNull() }
    for index in 0..<StoreLayout.bucketCount {
      let items = try await run("HGETALL", layout.bucket(index)).array().map { try $0.bytes() }
      if items.isEmpty { continue }
      var count = Count()
      var summary = "none"
      for at in stride(from: 0, to: items.count, by: 2) {
        if items[at].count != 32 {
          summary = String(decoding: items[at + 1], as: UTF8.self)
          continue
        }
        count.add(items[at], items[at + 1])
        total.add(items[at], items[at + 1])
      }
      let parts = summary.split(separator: " ")
      if parts.count != 3 || parts[0...1].joined(separator: " ") != count.text {
        wrong.append("bucket \(index): \(summary), counted \(count.text)")
      }
      latest = max(latest, parts.last.flatMap { Int($0) } ?? 0)
    }
    if "\(meta[1] ?? "none") \(meta[2] ?? "none")" != total.text {
      wrong.append("meta: \(meta), counted \(total.text)")
    }
    if latest > Int(meta[0] ?? "") ?? -1 { wrong.append("meta: \(meta), but a bucket is at \(latest)") }
    return wrong
  }

  /// The ids of the change stream.
  func streamIDs() async throws -> [String] {
    try await run("XRANGE", layout.changes, "-", "+").array().map { try $0.array()[0].string() }
  }
}

extension KeyEdit {
  /// May do everything, unless told otherwise.
  static func put(
    _ secret: String, _ account: String = "acme", _ state: KeyState? = .active,
    allowing: Permissions = [.end, .move, .reactivate]
  ) -> KeyEdit {
    KeyEdit(key: KeyID(secret: secret.utf8), kind: .put(account: account, state), allowing: allowing)
  }

  static func set(_ secret: String, _ state: KeyState, allowing: Permissions = .reactivate) -> KeyEdit {
    KeyEdit(key: KeyID(secret: secret.utf8), kind: .setState(state), allowing: allowing)
  }
}
