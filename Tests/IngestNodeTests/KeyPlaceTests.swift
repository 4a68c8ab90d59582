// The places of the key in each dialect: which values are keys, and which place counts if there are several.

import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode

@Suite struct KeyPlaceTests {
  /// The key that a dialect finds in a request with these header lines and this query.
  private func found(
    in dialect: Dialect = Dialects.generic, query: String? = nil, _ fields: String...
  ) throws -> KeyID? {
    guard case .key(let id) = try presented(in: dialect, query: query, fields) else { return nil }
    return id
  }

  private func presented(
    in dialect: Dialect = Dialects.generic, query: String? = nil, _ fields: [String] = []
  ) throws -> PresentedKey {
    try withHead(of: .request("POST /v1/push\(query.map { "?" + $0 } ?? "") HTTP/1.1", fields)) { head, bytes in
      PresentedKey.find(dialect.keys, in: head, bytes)
    }
  }

  private func id(_ secret: String) -> KeyID { KeyID(secret: secret.utf8) }

  @Test func `generic clients and OpenTelemetry's send it as a bearer, in a header or in the query`() throws {
    for dialect in [Dialects.generic, Dialects.otlp] {
      #expect(try found(in: dialect, "Authorization: Bearer K1") == id("K1"))
      #expect(try found(in: dialect, "X-API-Key: K2") == id("K2"))
      #expect(try found(in: dialect, query: "a=b&api_key=K3") == id("K3"))
      #expect(try found(in: dialect, query: "api_key=K3", "X-API-Key: K2", "Authorization: Bearer K1") == id("K1"))
      #expect(try found(in: dialect, query: "api_key=K3", "X-API-Key: K2") == id("K2"))
      #expect(
        try found(in: dialect, query: "sentry_key=K", "X-Honeycomb-Team: K", "X-Sentry-Auth: Sentry sentry_key=K")
          == nil)
    }
  }

  @Test func `AppSignal's send it in the query and nowhere else`() throws {
    #expect(
      try found(in: Dialects.appSignal, query: "api_key=K&name=x", "Authorization: Bearer B", "X-API-Key: X") == id("K")
    )
    #expect(try found(in: Dialects.appSignal, "Authorization: Bearer B", "X-API-Key: X") == nil)
  }

  @Test func `Honeycomb's send it in a header and nowhere else`() throws {
    #expect(try found(in: Dialects.honeycomb, query: "api_key=Q", "x-honeycomb-TEAM: K") == id("K"))
    #expect(try found(in: Dialects.honeycomb, query: "api_key=Q", "Authorization: Bearer B") == nil)
  }

  @Test func `Sentry's send it in two headers or in the query`() throws {
    let auth = "Sentry sentry_version=7, sentry_client=x/1.0, sentry_key="
    #expect(try found(in: Dialects.sentry, "X-Sentry-Auth: \(auth)K1") == id("K1"))
    #expect(try found(in: Dialects.sentry, "Authorization: \(auth)K2,sentry_secret=s") == id("K2"))
    #expect(try found(in: Dialects.sentry, query: "sentry_version=7&sentry_key=K3") == id("K3"))
    #expect(
      try found(in: Dialects.sentry, query: "sentry_key=K3", "Authorization: \(auth)K2", "X-Sentry-Auth: \(auth)K1")
        == id("K1"))
    #expect(try found(in: Dialects.sentry, query: "sentry_key=K3", "Authorization: \(auth)K2") == id("K2"))
    #expect(try found(in: Dialects.sentry, "X-Sentry-Auth: SENTRY   sentry_key=K,") == id("K"))
    #expect(try found(in: Dialects.sentry, "X-Sentry-Auth: sentry sentry_key=K") == id("K"))
    #expect(try found(in: Dialects.sentry, query: "api_key=Q", "Authorization: Bearer B", "X-API-Key: X") == nil)
    #expect(try found(in: Dialects.sentry, "X-Sentry-Auth: Sentry sentry_keys=K, xsentry_key=K") == nil)
    #expect(try found(in: Dialects.sentry, "X-Sentry-Auth: sentry_key=K") == nil, "it isn't behind its scheme")
  }

  @Test func `a scheme is known in any case, with blanks behind it, and others are passed over`() throws {
    for line in ["Bearer K", "bearer K", "BEARER K", "Bearer   K", "Bearer \tK", "Bearer K  "] {
      #expect(try found("Authorization: \(line)") == id("K"), "\(line)")
    }
    for line in ["Basic K", "BearerK", "Bearer", "Bearer ", "Bearers K", "Bear K", "K", ""] {
      #expect(try found("Authorization: \(line)") == nil, "\(line)")
      #expect(try found("Authorization: \(line)", "X-API-Key: K2") == id("K2"), "\(line)")
    }
    #expect(try found("Authorization: Bearer a b") == id("a b"), "what is behind the scheme isn't taken apart")
    #expect(try found("X-API-Key: \u{fc}\u{fc}") == id("\u{fc}\u{fc}"), "keys are bytes")
  }

  @Test(arguments: [
    ("api_key=a%20b", "a b"), ("api_key=%41%62%63", "Abc"), ("api_key=%c3%BC", "\u{fc}"),
    ("api_key=a%26b%3dc", "a&b=c"),
    ("api_key=a=b", "a=b"), ("api_key=a+b", "a+b"), ("api_key=%00", "\0"), ("api_key=%", "%"), ("api_key=%4", "%4"),
    ("api_key=%zz", "%zz"), ("api_key=%4g%41", "%4gA"), ("api_key=%%341", "%41"), ("api_key=K&api_key=L", "K"),
    ("api_key=%20K%20", "K"), ("x=1&&api_key=K&", "K"), ("api_key=?K/", "?K/"), ("xapi_key=L&api_key=K", "K"),
    ("api_key=%2541", "%41"),
  ]) func `in a query it is percent-encoded, and what isn't valid stays as it is`(query: String, secret: String) throws
  {
    #expect(try found(query: query) == id(secret))
  }

  @Test(arguments: [
    "", "api_key", "api_key=", "API_KEY=K", "apikey=K", "xapi_key=K", "api_key2=K", "a=api_key=K", "api%5fkey=K",
  ])
  func `a query that has none has none`(query: String) throws {
    #expect(try found(query: query) == nil)
  }

  @Test func `a place that is empty is passed over`() throws {
    #expect(try found(query: "api_key=K3", "Authorization: Bearer ", "X-API-Key:") == id("K3"))
    #expect(try found(query: "api_key=", "X-API-Key: K2") == id("K2"))
    #expect(
      try found(
        in: Dialects.sentry, query: "sentry_key=K", "X-Sentry-Auth: Sentry sentry_key=",
        "Authorization: Sentry sentry_key= ")
        == id("K"))
    for blank in ["%20", "%09%20"] {
      #expect(try found(in: Dialects.appSignal, query: "api_key=\(blank)") == nil, "blanks are no key")
    }
  }

  @Test func `what is longer than a key can be is none, and hides none`() throws {
    let longest = String(repeating: "k", count: 512)
    #expect(try found("X-API-Key: \(longest)") == id(longest))
    #expect(try presented(["X-API-Key: \(longest)k"]) == .tooLong)
    #expect(try found("Authorization: Bearer \(longest)k", "X-API-Key: K") == id("K"))
    #expect(try found(query: "api_key=K", "Authorization: Bearer \(longest)k", "X-API-Key: \(longest)k") == id("K"))
    #expect(try found(query: "api_key=\(longest)k", "X-API-Key: K") == id("K"))
    #expect(try presented(["Authorization: Bearer \(longest)k", "X-API-Key:"]) == .tooLong)
    #expect(try presented(query: "api_key=", ["X-API-Key:"]) == .missing)
    #expect(try found(query: "api_key=\(longest)") == id(longest))
    #expect(try presented(query: "api_key=\(longest)k") == .tooLong)
    let encoded = String(repeating: "%6b", count: 512)
    #expect(try found(query: "api_key=\(encoded)") == id(longest))
    #expect(try presented(query: "api_key=\(encoded)%6b") == .tooLong)
    #expect(try presented(query: "api_key=\(encoded)k") == .tooLong)
  }

  @Test func `whoever sends nothing else is told so, and isn't refused`() throws {
    let long = String(repeating: "k", count: 513)
    let client = EmbeddedClient()
    client.send(.post(key: long))
    client.send(.post(key: long, "X-API-Key: good"))
    client.send(.post(to: "/api/1/store/?sentry_key=\(long)", key: nil, body: "{}"))
    client.send(.post(to: "/api/1/store/", key: nil, body: #"{"dsn":"https://\#(long)@h/1"}"#))
    client.send(.post(to: "/api/1/store/?sentry_key=\(long)", key: nil, body: #"{"dsn":"https://good@h/1"}"#))
    #expect(try client.statuses() == [400, 202, 400, 400, 200])
    let answer = try client.answers()[0].json()
    #expect(answer["error"] as? String == "key_too_long" && answer["limit"] as? Int == 512)
    #expect(client.counters.byReason["key_too_long"] == 3 && client.gate.asked.isEmpty)
  }

  @Test func `of two lines of the same name the first counts`() throws {
    #expect(try found("X-API-Key: K1", "X-API-Key: K2") == id("K1"))
  }
}
