// The receiver's own URL. Its query may have three parameters for the sink, which are removed before a request:
// `batch`, `concurrency` and `timeout`. The rest of the query may be a secret, so it isn't shown.

internal import Foundation

/// An HTTP receiver's address, as an operator writes it:
/// `https://user:password@host/path?batch=ndjson&concurrency=8&timeout=10`.
public struct HTTPSinkAddress: Sendable, Equatable, CustomStringConvertible {
  /// How payloads are sent.
  enum Form: String, Sendable, CaseIterable {
    /// One request for each payload, with body and content type unchanged.
    case single
    /// One request for many payloads, with one line of JSON for each.
    case ndjson
  }

  /// Without user, password and the sink's own parameters.
  let url: String
  /// The header's value, if the address has a user.
  let authorization: String?
  let form: Form
  /// Maximum parallel requests for one batch.
  let concurrency: Int
  /// Maximum time of one request and its answer.
  let timeout: Duration
  public let description: String

  /// The form of an address, to follow the word "expected".
  public static let expectation =
    "http://host:port/path or https://…, with ?batch=ndjson, ?concurrency=1…64 and ?timeout=1…300 (seconds) as one likes"

  init(_ text: String) throws(InvalidSinkAddress) {
    guard var parts = URLComponents(string: text), let host = parts.host, !host.isEmpty, parts.fragment == nil else {
      throw InvalidSinkAddress("expected \(Self.expectation)")
    }
    var form = Form.single
    var concurrency = 8
    var timeout = 10
    var rest: [URLQueryItem] = []
    for item in parts.percentEncodedQueryItems ?? [] {
      switch item.name {
      case "batch":
        guard let given = Form(rawValue: item.value ?? "") else {
          throw Self.wrong(item, Form.allCases.map(\.rawValue).joined(separator: " or "))
        }
        form = given
      case "concurrency": concurrency = try Self.number(item, 1...64)
      case "timeout": timeout = try Self.number(item, 1...300)
      default: rest.append(item)
      }
    }
    authorization = parts.user.map { user in
      "Basic " + Data("\(user):\(parts.password ?? "")".utf8).base64EncodedString()
    }
    parts.percentEncodedUser = nil
    parts.percentEncodedPassword = nil
    parts.percentEncodedQueryItems = rest.isEmpty ? nil : rest
    guard let url = parts.string else { throw InvalidSinkAddress("expected \(Self.expectation)") }
    parts.percentEncodedQuery = nil
    self.url = url
    self.form = form
    self.concurrency = concurrency
    self.timeout = .seconds(timeout)
    description =
      (parts.string ?? "\(parts.scheme ?? "http")://\(host)") + (form == .single ? "" : "?batch=\(form.rawValue)")
  }

  private static func number(_ item: URLQueryItem, _ range: ClosedRange<Int>) throws(InvalidSinkAddress) -> Int {
    guard let number = Int(item.value ?? ""), range.contains(number) else {
      throw wrong(item, "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  private static func wrong(_ item: URLQueryItem, _ expected: String) -> InvalidSinkAddress {
    InvalidSinkAddress("expected \(item.name)= to be \(expected), got \"\((item.value ?? "").prefix(100))\"")
  }
}
