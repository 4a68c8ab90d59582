// The key in the DSN of a Sentry envelope's first line.

import KeyReplica
import Testing

@testable import IngestNode

@Suite struct KeyInEnvelopeTests {
  private func found(_ body: String) -> KeyID? {
    guard case .key(let id) = presented(body) else { return nil }
    return id
  }

  private func presented(_ body: String) -> PresentedKey {
    let bytes = Array(body.utf8)
    return PresentedKey.findDSN(in: bytes.span.bytes)
  }

  private func id(_ secret: String) -> KeyID { KeyID(secret: secret.utf8) }

  /// Taken as it stands each would be another key, and its refusal would be of one that nobody sent.
  @Test(arguments: [
    (#"{"dsn":"https://ab\u002Bcd@h/1"}"#, "ab+cd"), (#"{"dsn":"https:\/\/ab\u002bcd:x@h\/1"}"#, "ab+cd"),
    (#"{"dsn":"https://\u00e9\u20AC@h/1"}"#, "é€"), (#"{"dsn":"https://ab%40cd@h/1"}"#, "ab@cd"),
    (#"{"dsn":"https://ab\u0025\u0034\u0030cd@h/1"}"#, "ab@cd"), (#"{"dsn":"https://100%@h/1"}"#, "100%"),
  ])
  func `a key with escapes is what they stand for`(body: String, key: String) {
    #expect(found(body) == id(key))
  }

  @Test(arguments: [
    #"{"dsn":"https://ab\u00@h/1"}"#, #"{"dsn":"https://ab\u00zz@h/1"}"#, #"{"dsn":"https://ab\ud800@h/1"}"#,
    #"{"dsn":"https://ab\x41@h/1"}"#, #"{"dsn":"https://ab\n@h/1"}"#,
  ])
  func `what isn't JSON's, or stands in no URL, is no key`(body: String) {
    guard case .missing = presented(body) else {
      Issue.record("\(presented(body))")
      return
    }
  }

  @Test(arguments: [
    #"{"dsn":"https://K@sentry.example/1"}"#, #"{"event_id":"x","dsn":"https://K@h:9000/p/1"}"#,
    #"{ "dsn" : "http://K@h/1" , "sdk":{} }"#, #"{"dsn":"https://K:secret@h/1"}"#,
    #"{"dsn":"http:\/\/K@h\/1"}"#, #"{"sent_at":"x@y://z","dsn":"https://K@h/1"}"#,
    // Others' addresses in other members.
    #"{"trace":{"environment":"dsn","transaction":"GET https://user@host/"},"dsn":"https://K@h/1"}"#,
    #"{"environment":"dsn","x":["dsn","https://user@host/"],"dsn":"https://K@h/1"}"#,
    #"{"sdk":{"dsn":"https://user@host/1"},"dsn":"https://K@h/1"}"#,
    #"{"transaction":"\"dsn\":\"https://user@host/\\","dsn":"https://K@h/1"}"#,
  ]) func `it is the user of the DSN in the first line`(line: String) {
    #expect(found(line + "\n{}\n") == id("K"))
    #expect(found(line) == id("K"), "there may be nothing else")
    #expect(found(line + "\r\n{}") == id("K"))
  }

  @Test(arguments: [
    "", "\n", "{}", #"{"dsn":null}"#, #"{"dsn":"https://h/1"}"#, #"{"dsn":"https://@h/1"}"#, #"{"dsn":"https:/K@h/1"}"#,
    #"{"dsn":"https://K"#, #"{"dsn":"https://a b@h/1"}"#, #"{"dsn":"https://h/1","x":"K@h"}"#,
    #"{"dsn":"https://:s@h/1"}"#,
    #"{"tag":"https://K@h/1"}"#, "\u{1f}\u{8b}\u{8}\0\0\0",
  ]) func `where there is none there is none`(line: String) {
    #expect(found(line + "\n" + #"{"dsn":"https://K@h/1"}"#) == nil, "and other lines aren't looked at")
  }

  @Test func `it isn't looked for far away`() {
    let near = String(repeating: " ", count: 16_000) + #"{"dsn":"https://K@h/1"}"#
    #expect(found(near + "\n{}") == id("K") && found(near) == id("K"))
    let far = String(repeating: " ", count: 16_400) + #"{"dsn":"https://K@h/1"}"#
    #expect(found(far + "\n{}") == nil && found(far) == nil)
    let longKey = #"{"dsn":"https://"# + String(repeating: "k", count: 513) + "@h/1\"}"
    #expect(presented(longKey) == .tooLong && presented("{}") == .missing)
  }
}
