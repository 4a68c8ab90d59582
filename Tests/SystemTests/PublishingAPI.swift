// `key-publisher serve` for one test, and a client of the API.

import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import RedisFixture

/// A running API.
final class PublishingAPI: Sendable {
  static let token = "a-token-of-the-application-1"

  let process: ServiceProcess
  /// The API's URL, such as `http://127.0.0.1:8083`.
  let url: String
  /// The path of the file of tokens.
  let tokens: String

  /// Starts the API, and waits until it listens.
  /// - Parameter arguments: Options besides the address and the file of tokens.
  init(at deployment: Deployment, _ arguments: [String] = []) async throws {
    tokens = deployment.folder.path("tokens-\(UUID().uuidString)")
    try Data("# the application\n\(Self.token)\n".utf8).write(to: URL(fileURLWithPath: tokens))
    guard chmod(tokens, 0o600) == 0 else { throw NeverHappened(description: "chmod \(tokens)") }
    process = try await deployment.start(
      "key-publisher", ["serve", "--listen", "127.0.0.1:0", "--tokens", tokens] + arguments)
    let line = try await process.waitForLine(containing: "listening for applications")
    guard let address = line.firstMatch(of: /address=(\S+)/)?.1 else {
      throw NeverHappened(description: "no address in: \(line)")
    }
    url = "\(arguments.contains("--tls-certificate") ? "https" : "http")://\(address)"
  }

  struct Answer: Sendable, CustomStringConvertible {
    var status: Int
    var headers: HTTPHeaders
    var body: String

    var json: [String: Any] {
      (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:]
    }
    var version: Int? { json["version"] as? Int }
    var changed: Bool? { json["changed"] as? Bool }
    var state: String? { json["state"] as? String }
    private var error: [String: Any] { json["error"] as? [String: Any] ?? [:] }
    var code: String? { error["code"] as? String }
    var message: String { error["message"] as? String ?? "" }
    var remedy: String { error["remedy"] as? String ?? "" }

    var description: String { "\(status) \(headers) \(body)" }
  }

  /// - Parameter token: The bearer token; nil to send none.
  func send(
    _ method: HTTPMethod, _ path: String, _ body: String? = nil, token: String? = PublishingAPI.token,
    headers: HTTPHeaders = [:]
  ) async throws -> Answer {
    var request = HTTPClientRequest(url: url + path)
    request.method = method
    request.headers = headers
    if let token { request.headers.replaceOrAdd(name: "authorization", value: "Bearer \(token)") }
    if let body {
      if !headers.contains(name: "content-type") {
        request.headers.add(name: "content-type", value: "application/json")
      }
      request.body = .bytes(ByteBuffer(string: body))
    }
    let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
    let bytes = try await response.body.collect(upTo: 1 << 20)
    return Answer(status: Int(response.status.code), headers: response.headers, body: String(buffer: bytes))
  }

  func put(_ secret: String, _ account: String = "acme", _ more: String = "") async throws -> Answer {
    try await send(.POST, "/v1/keys", #"{"key":"\#(secret)","account":"\#(account)"\#(more)}"#)
  }
}
