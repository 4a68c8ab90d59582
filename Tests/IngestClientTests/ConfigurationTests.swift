import Logging
import Testing

@testable import IngestClient

struct ConfigurationTests {
  @Test func `the key shows nowhere`() throws {
    let secret = "sk_live_0123456789"
    let configuration = IngestClient.Configuration(
      endpoint: "https://push.example.com/v1/events", key: try PushKey(secret))
    var dumped = ""
    dump(configuration, to: &dumped)
    for text in ["\(configuration)", String(reflecting: configuration), dumped, "\(configuration.key)"] {
      #expect(!text.contains(secret))
    }
    #expect(dumped.contains("<secret>"))
  }

  @Test(arguments: ["", "sk_test\n", "sk test", "sk_tést", String(repeating: "k", count: 513)])
  func `a key that can't be sent is an error that doesn't show it`(key: String) {
    let error = #expect(throws: IngestClient.InvalidConfiguration.self) { try PushKey(key) }
    if !key.isEmpty { #expect(error?.description.contains(key) == false) }
    #expect(error?.description.hasPrefix("expected a key of") == true)
  }

  @Test(arguments: [
    "", "push.example.com", "ftp://push.example.com", "https://", "https:///v1", "https://u:p@push.example.com/v1",
    "https://push.example.com/v1#part", "https://push.example.com/v1?api_key=u:p", "u:p@",
  ])
  func `an endpoint that makes no sense is an error`(endpoint: String) throws {
    let configuration = IngestClient.Configuration(endpoint: endpoint, key: try PushKey("sk_test"))
    let error = #expect(throws: IngestClient.InvalidConfiguration.self) {
      try IngestClient(configuration, logger: Logger(label: "test"))
    }
    // A secret in the wrong place isn't shown.
    #expect(error?.description.contains("u:p") == false)
  }

  @Test func `a number out of its bounds is an error that names it`() throws {
    let changes: [(String, (inout IngestClient.Configuration) -> Void)] = [
      ("concurrency", { $0.concurrency = 0 }), ("buffer.payloads", { $0.buffer.payloads = 0 }),
      ("buffer.bytes", { $0.buffer.bytes = -1 }), ("requestTimeout", { $0.requestTimeout = .zero }),
      ("retries.longest", { $0.retries.longest = .milliseconds(1) }),
      ("retries.first", { $0.retries.first = .seconds(-1) }),
      ("refusals.firstAsk", { $0.refusals.firstAsk = .seconds(-5) }),
      ("refusals.rareAsk", { $0.refusals.rareAsk = .zero }),
    ]
    for (name, change) in changes {
      var configuration = try OutboxWorld.configuration()
      change(&configuration)
      let error = #expect(throws: IngestClient.InvalidConfiguration.self) { try configuration.check() }
      #expect(error?.description.contains("expected \(name) from") == true, "\(String(describing: error))")
    }
  }
}
