// The bodies of the answers. Members are written in snake case, without nil ones. The OpenAPI document has the same
// shapes.

internal import Foundation
internal import Hummingbird
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import NIOCore

/// One key.
struct KeyAnswer: Encodable {
  var keyId: String
  var account: String?
  var state: String?
  /// Seconds since 1970.
  var since: Int64?
  /// When the key ends, in seconds since 1970.
  var expiresAt: Int64?
  var revision: UInt64?
  /// Whether this request changed the key.
  var changed: Bool?
  /// The store's version after the request; or if a key is only read, the version of the key's last change.
  var version: UInt64?
}

/// The result of one change of a batch.
struct BatchItem: Encodable {
  var keyId: String
  var result: String
  var state: String?
  var code: String?
  var message: String?
  var remedy: String?
}

struct BatchAnswer: Encodable {
  var version: UInt64
  var changed: Int
  var unchanged: Int
  var left: Int
  var results: [BatchItem]
}

struct AccountAnswer: Encodable {
  var account: String
  var state: String
  var dryRun: Bool
  var keys: Int
  var changed: Int
  var stayRevoked: Int
  var version: UInt64?
}

struct HealthAnswer: Encodable {
  var status = "ok"
}

struct ProblemAnswer: Encodable {
  struct Problem: Encodable {
    var code: String
    var message: String
    var remedy: String?
  }

  var error: Problem
}

/// An answer, with its code for the access log.
struct APIAnswer: Sendable {
  var status = HTTPResponse.Status.ok
  var headers: HTTPFields = [.contentType: "application/json"]
  var body: ByteBuffer
  var code: APICode?

  init(_ value: some Encodable) { body = Self.json(value) }

  /// - Parameter document: JSON as text.
  init(document: String) { body = ByteBuffer(string: document) }

  init(_ problem: APIProblem) {
    status = problem.code.status
    code = problem.code
    body = Self.json(
      ProblemAnswer(
        error: .init(code: problem.code.rawValue, message: problem.message, remedy: problem.remedy)))
    if status == .serviceUnavailable { headers[.retryAfter] = "1" }
    if status == .unauthorized { headers[.wwwAuthenticate] = "Bearer" }
    if !problem.allowed.isEmpty { headers[.allow] = problem.allowed.joined(separator: ", ") }
  }

  private static func json(_ value: some Encodable) -> ByteBuffer {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return ByteBuffer(bytes: try encoder.encode(value) + Data("\n".utf8))
    } catch {
      // The answers have only strings, numbers and truth values, which can always be encoded.
      preconditionFailure("an answer that isn't JSON: \(error)")
    }
  }

  /// - Parameter isHead: Whether the request is HEAD: the answer has no body then.
  func response(isHead: Bool) -> Response {
    var headers = headers
    headers[.contentLength] = "\(body.readableBytes)"
    headers[.date] = HTTPDate.now()
    headers[.cacheControl] = "no-store"
    return Response(status: status, headers: headers, body: isHead ? .init() : .init(byteBuffer: body))
  }
}
