import KeyReplica
import KeyStore
import Testing

@testable import KeyAPI

@Suite struct RequestedChangeTests {
  private static let id = KeyID(secret: "s3cret".utf8)

  private func put(_ text: String) throws(APIProblem) -> ChangeRequest {
    try RequestedChange.put(try RequestedChange.json(Array(text.utf8)))
  }

  @Test func `a put is the edit that the verb makes`() throws {
    let plain = KeyEdit.active(Self.id, of: "acme", reactivates: false, changesAccount: false, revision: nil)
    #expect(try put(#"{"key": "s3cret", "account": "acme"}"#) == ChangeRequest(edits: [plain], basis: nil))
    #expect(try put(#"{"key_id": "\#(Self.id.hex)", "account": "acme"}"#).edits == [plain])
    let whole = try put(
      #"{"key":"s3cret","account":"acme","reactivate":true,"change_account":true,"revision":7,"if_version":9}"#)
    #expect(whole.edits[0].kind == .put(account: "acme", .active) && whole.edits[0].revision == 7 && whole.basis == 9)
    #expect(whole.edits[0].allowing == [.reactivate, .move])
    #expect(try put(#"{"key":"s3cret","account":"acme","revision":1e3}"#).edits[0].revision == 1_000)
  }

  @Test(arguments: [
    (#"{"key": "s3cret"}"#, "account: expected a string, got none"),
    (#"{"account": "acme"}"#, "the body: expected either key or key_id, got neither"),
    (#"{"key": "s3cret", "key_id": "00", "account": "a"}"#, "the body: expected either key or key_id, got both"),
    (#"{"key": "s3cret", "account": ""}"#, "the account is empty"),
    (#"{"key": "s3 cret", "account": "a"}"#, "printable ASCII"),
    (#"{"key": "s3cret", "account": "a\u0000"}"#, "control characters"),
    (#"{"key": 7, "account": "a"}"#, "key: expected a string, got a number"),
    (#"{"key": "s3cret", "account": "a", "reactivat": true}"#, "only the members"),
    (#"{"key": "s3cret", "account": "a", "reactivate": "yes"}"#, "true or false, got a string"),
    (#"{"key": "s3cret", "account": "a", "revision": -1}"#, "a whole number from 0 to"),
    (#"{"key": "s3cret", "account": "a", "revision": 1.5}"#, "a whole number from 0 to"),
    (#"{"key": "s3cret", "account": "a", "revision": 9007199254740992}"#, "a whole number from 0 to"),
    (#"{"key": "s3cret", "account": "a", "if_version": null}"#, "got null"),
    (#"["s3cret"]"#, "expected a JSON object, got an array"), ("s3cret", "expected JSON"), ("", "expected JSON"),
    (#"{"key_id": "s3cret", "account": "a"}"#, "64 hexadecimal digits, got 6 bytes"),
  ])
  func `what makes no sense is said, and no value is repeated`(text: String, message: String) throws {
    let problem = #expect(throws: APIProblem.self) { try put(text) }
    #expect(problem?.code == .invalidRequest && problem?.message.contains(message) == true, "\(problem as Any)")
    #expect(problem?.message.contains("s3") == false, "\(problem as Any)")
  }

  @Test func `an expiry is a time with its zone, seconds since 1970, or null to remove it`() throws {
    for (text, expected) in [
      ("1795176000", .set(1_795_176_000)), ("\"2026-11-20T12:00:00Z\"", .set(1_795_176_000)), ("null", .remove),
      ("1.5e3", .set(1500)), ("0", .set(0)),
    ] as [(String, ExpiryChange)] {
      let request = try put(#"{"key":"s3cret","account":"acme","expires_at":\#(text)}"#)
      #expect(request.edits[0].expiry == expected, "\(text)")
    }
    #expect(try put(#"{"key":"s3cret","account":"acme"}"#).edits[0].expiry == .keep)
    for text in ["\"2026-11-20\"", "\"1795176000\"", "true", "-1", "1.5", "253402300800", "\"\"", "[]"] {
      let problem = #expect(throws: APIProblem.self) {
        try put(#"{"key":"s3cret","account":"acme","expires_at":\#(text)}"#)
      }
      #expect(problem?.message.contains("expires_at: expected") == true, "\(text): \(problem as Any)")
    }
    let state = try RequestedChange.json(Array(#"{"state":"active","expires_at":1}"#.utf8))
    let problem = #expect(throws: APIProblem.self) { try RequestedChange.state(Self.id, state) }
    #expect(problem?.message.contains("only the members") == true)
  }

  @Test func `a batch has puts and changes of the state, in their order`() throws {
    let json = try RequestedChange.json(
      Array(
        #"{"changes":[{"key":"a","account":"acme"},{"key":"b","state":"revoked","revision":2}],"if_version":5}"#.utf8))
    let request = try RequestedChange.batch(json)
    #expect(request.basis == 5 && request.edits.map(\.key) == ["a", "b"].map { KeyID(secret: $0.utf8) })
    #expect(request.edits[1] == KeyEdit(key: KeyID(secret: "b".utf8), kind: .setState(.revoked), revision: 2))
  }

  @Test(arguments: [
    (#"{"changes":[]}"#, "1 to 256 changes, got 0"), (#"{"changes":{}}"#, "expected an array"),
    (#"{"changes":[{"key":"a","account":"x"},7]}"#, "changes[1]: expected a JSON object"),
    (#"{"changes":[{"key":"a"}]}"#, "changes[0]: expected either account"),
    (#"{"changes":[{"key":"a","account":"x","state":"active"}]}"#, "got both"),
    (#"{"changes":[{"account":"x"}]}"#, "changes[0]: expected either key or key_id"),
    (#"{"changes":[{"key":"a","state":"activ"}]}"#, "changes[0].state: expected active, suspended or revoked"),
    (#"{"changes":[{"key":"a","state":"active","reactivate":true}]}"#, "only the members"),
    (#"{"changes":[{"key":"a","account":"x","if_version":1}]}"#, "only the members"),
  ])
  func `nothing of a batch with a change that makes no sense is taken`(text: String, message: String) throws {
    let json = try RequestedChange.json(Array(text.utf8))
    let problem = #expect(throws: APIProblem.self) { try RequestedChange.batch(json) }
    #expect(problem?.message.contains(message) == true, "\(problem as Any)")
  }

  @Test func `a batch has a limit`() throws {
    let change = #"{"key":"a","account":"x"}"#
    func batch(_ count: Int) throws -> JSONValue {
      try RequestedChange.json(
        Array("{\"changes\":[\(Array(repeating: change, count: count).joined(separator: ","))]}".utf8))
    }
    #expect(try RequestedChange.batch(try batch(256)).edits.count == 256)
    #expect(throws: APIProblem.self) { try RequestedChange.batch(try batch(257)) }
  }
}
