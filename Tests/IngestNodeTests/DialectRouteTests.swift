// The dialect of a request: by the tables of the five dialects, and by random paths, compared with a simple, slow
// reference.

import HTTPFraming
import Testing

@testable import IngestNode

@Suite struct DialectRouteTests {
  /// Where a request goes, in one word or two.
  private static func destination(_ method: String, _ path: String, in dialects: [Dialect] = Dialects.all) throws
    -> String
  {
    let table = RouteTable(dialects)
    return try withHead(of: .request("\(method) \(path) HTTP/1.1", [])) { head, bytes in
      switch table.destination(of: head, in: bytes) {
      case .route(let dialect, let purpose): "\(dialect.name) \(purpose)"
      case .otherMethods(let dialect, let allow): "\(dialect.name) but \(allow)"
      case .none: "none"
      }
    }
  }

  @Test(
    arguments: [
      ("POST", "/v1/traces", "otlp push"), ("POST", "/v1/metrics", "otlp push"), ("POST", "/v1/logs", "otlp push"),
      ("POST", "/v1/logs/", "generic push"), ("POST", "/v1/trace", "generic push"),
      ("POST", "/v1/traces2", "generic push"),
      ("POST", "/v1/a", "generic push"), ("POST", "/v1/a/b/c", "generic push"), ("POST", "/v1//", "generic push"),
      ("POST", "/v1/", "none"), ("POST", "/v1", "none"), ("POST", "/V1/a", "none"), ("POST", "/a/v1/b", "none"),
      ("POST", "/1/log_entries", "appsignal push"), ("POST", "/1/markers", "appsignal push"),
      ("POST", "/1/auth", "appsignal probe"), ("GET", "/1/auth", "honeycomb probe"),
      ("PUT", "/1/auth", "appsignal but GET, POST"),
      ("POST", "/1/batch/set", "honeycomb batch"), ("POST", "/1/events/set", "honeycomb push"),
      ("POST", "/1/batch/", "none"), ("POST", "/1/batch", "none"), ("POST", "/1/batch/a/b", "none"),
      ("GET", "/1/events/set", "honeycomb but POST"),
      ("POST", "/api/1/envelope/", "sentry push"), ("POST", "/api/1/envelope", "sentry push"),
      ("POST", "/api/any%2fthing/store/", "sentry push"), ("POST", "/api/1/store", "sentry push"),
      ("OPTIONS", "/api/1/envelope/", "sentry preflight"), ("OPTIONS", "/api/1/store/", "sentry preflight"),
      ("OPTIONS", "/api/1/store", "sentry but POST"), ("GET", "/api/1/store/", "sentry but OPTIONS, POST"),
      ("POST", "/api//store/", "none"), ("POST", "/api/1/2/store/", "none"), ("POST", "/api/1/store/x", "none"),
      ("GET", "/v1/traces", "otlp but POST"), ("HEAD", "/v1/a", "generic but POST"), ("GET", "/", "none"),
      ("POST", "http://h/v1/traces", "otlp push"), ("POST", "http://h", "none"), ("OPTIONS", "*", "none"),
      ("POST", "/v1/traces?x=/1/auth", "otlp push"), ("POST", "/?/v1/traces", "none"),
    ])
  func `a path and a method lead to a dialect`(method: String, path: String, destination: String) throws {
    #expect(try Self.destination(method, path) == destination)
  }

  @Test func `dialects that aren't spoken have no paths`() throws {
    #expect(try Self.destination("POST", "/v1/traces", in: [Dialects.generic]) == "generic push")
    #expect(try Self.destination("POST", "/1/auth", in: [Dialects.honeycomb]) == "honeycomb but GET")
    #expect(try Self.destination("POST", "/1/auth", in: []) == "none")
  }

  @Test func `the dialects have different names, and each has its counters`() {
    #expect(Dialects.all.map(\.name) == ["otlp", "appsignal", "honeycomb", "sentry", "generic"])
    let counters = AnswerCounters(Dialects.all)
    for dialect in Dialects.all { counters.countAccepted(dialect) }
    #expect(counters.byStatus["200"] == 4 && counters.byStatus["202"] == 1 && counters.byReason == ["accepted": 5])
  }
}
