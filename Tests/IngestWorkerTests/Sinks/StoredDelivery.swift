import Foundation
import GRDB
import IngestQueue
import NIOHTTP1

@testable import IngestWorker

/// A delivery as it is found in a sink's place, by looking from outside. What a kind of sink doesn't keep is nil.
struct StoredDelivery: Sendable, Equatable {
  var id: String
  var account: String
  var keyID: String
  var receivedAt: Int64
  var contentType: String?
  var contentEncoding: String?
  var undone: String?
  var path: String
  var node: String
  var traceparent: String?
  var body: [UInt8]

  /// The record of a delivery in a sink that keeps every field.
  init(_ delivery: Delivery) {
    let header = delivery.header
    id = "\(header.id)"
    account = header.account
    keyID = header.key
    receivedAt = header.receivedAt
    contentType = header.contentType
    contentEncoding = header.contentEncoding
    undone = delivery.body.undone
    path = header.path
    node = header.node
    traceparent = header.traceparent
    body = Array(delivery.body.bytes)
  }

  private struct Incomplete: Error, CustomStringConvertible {
    let description: String
  }

  /// A request for one payload.
  init(_ request: ReceivedRequest) throws {
    func field(_ name: String) throws -> String {
      guard let value = request.headers.first(name: name) else { throw Incomplete(description: "no \(name)") }
      return value
    }
    id = try field("idempotency-key")
    account = try field("sluice-account")
    keyID = try field("sluice-key")
    receivedAt = Int64(try field("sluice-received-at")) ?? -1
    path = try field("sluice-path")
    node = try field("sluice-node")
    contentType = request.headers.first(name: "content-type")
    contentEncoding = request.headers.first(name: "sluice-content-encoding")
    traceparent = request.headers.first(name: "traceparent")
    body = request.body
  }

  /// Lines of JSON, read by Foundation.
  static func lines(_ bytes: [UInt8]) throws -> [StoredDelivery] {
    guard bytes.isEmpty || bytes.last == UInt8(ascii: "\n") else {
      throw Incomplete(description: "no newline at the end")
    }
    return try bytes.split(separator: UInt8(ascii: "\n")).map { line in
      let object = try JSONSerialization.jsonObject(with: Data(line))
      guard let members = object as? [String: Any] else { throw Incomplete(description: "no object") }
      return try StoredDelivery(members)
    }
  }

  private init(_ members: [String: Any]) throws {
    func text(_ name: String) throws -> String {
      guard let text = members[name] as? String else { throw Incomplete(description: "no \(name)") }
      return text
    }
    id = try text("id")
    account = try text("account")
    keyID = try text("key_id")
    receivedAt = (members["received_at"] as? NSNumber)?.int64Value ?? -1
    contentType = members["content_type"] as? String
    contentEncoding = members["content_encoding"] as? String
    undone = members["undone"] as? String
    path = try text("path")
    node = try text("node")
    traceparent = members["traceparent"] as? String
    if let encoded = members["body_base64"] as? String {
      guard let data = Data(base64Encoded: encoded) else { throw Incomplete(description: "no base64") }
      body = Array(data)
    } else {
      body = Array(try text("body").utf8)
    }
  }

  /// A row of SQLite's table.
  init(_ row: Row) {
    id = row["id"]
    account = row["account"]
    keyID = row["key_id"]
    receivedAt = row["received_at"]
    contentType = row["content_type"]
    contentEncoding = row["content_encoding"]
    undone = row["undone"]
    path = row["path"]
    node = row["node"]
    traceparent = row["traceparent"]
    let body: Data = row["body"]
    self.body = Array(body)
  }

  /// A row of psql's, by ``PostgresPlace``.
  init(columns: [String]) throws {
    guard columns.count == 11 else { throw Incomplete(description: "\(columns.count) columns") }
    func text(_ column: Int) throws -> String { String(decoding: try Self.bytes(hex: columns[column]), as: UTF8.self) }
    func optional(_ column: Int) throws -> String? { columns[column] == "null" ? nil : try text(column) }
    id = columns[0]
    account = try text(1)
    keyID = try text(2)
    receivedAt = Int64(columns[3]) ?? -1
    contentType = try optional(4)
    contentEncoding = try optional(5)
    undone = try optional(6)
    path = try text(7)
    node = try text(8)
    traceparent = try optional(9)
    body = try Self.bytes(hex: columns[10])
  }

  private static func bytes(hex: String) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var digits = Array(hex.utf8)[...]
    while digits.count >= 2 {
      guard let byte = UInt8(String(decoding: digits.prefix(2), as: UTF8.self), radix: 16) else {
        throw Incomplete(description: "no hexadecimal digits")
      }
      bytes.append(byte)
      digits = digits.dropFirst(2)
    }
    return bytes
  }
}
