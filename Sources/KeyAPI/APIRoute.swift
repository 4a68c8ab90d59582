internal import Foundation
internal import KeyReplica

/// The meaning of a path.
enum APIRoute: Equatable, Sendable {
  case health
  case openAPI
  case keys
  case batch
  case key(String)
  case account(String, KeyState)

  /// nil if the API doesn't have this path.
  /// - Parameter path: The path without a query.
  init?(path: some StringProtocol) {
    var segments: [String] = []
    // The path is split before its segments are decoded: an account may contain an encoded slash.
    for segment in path.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
      guard let decoded = String(segment).removingPercentEncoding else { return nil }
      segments.append(decoded)
    }
    guard segments.first == "v1" else { return nil }
    switch (segments.count, segments.dropFirst().first) {
    case (2, "health"): self = .health
    case (2, "openapi.json"): self = .openAPI
    case (2, "keys"): self = .keys
    case (2, "keys:batch"): self = .batch
    case (3, "keys") where !segments[2].isEmpty: self = .key(segments[2])
    case (4, "accounts") where !segments[2].isEmpty:
      guard let verb = Self.verbs.first(where: { $0.word == segments[3] }) else { return nil }
      self = .account(segments[2], verb.state)
    default: return nil
    }
  }

  private static let verbs: [(word: String, state: KeyState)] = [
    ("suspend", .suspended), ("activate", .active), ("revoke", .revoked),
  ]

  var methods: [String] {
    switch self {
    case .health, .openAPI: ["GET", "HEAD"]
    case .keys, .batch, .account: ["POST"]
    case .key: ["GET", "HEAD", "PATCH", "PUT"]
    }
  }

  /// Whether a request needs no token.
  var isOpen: Bool { self == .health || self == .openAPI }

  /// The path in the OpenAPI document. The log has this template and not the request's path, which may contain a secret
  /// by mistake.
  var template: String {
    switch self {
    case .health: "/v1/health"
    case .openAPI: "/v1/openapi.json"
    case .keys: "/v1/keys"
    case .batch: "/v1/keys:batch"
    case .key: "/v1/keys/{key_id}"
    case .account(_, let state):
      "/v1/accounts/{account}/\(Self.verbs.first { $0.state == state }?.word ?? "")"
    }
  }
}
