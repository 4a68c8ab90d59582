import Logging
import RedisClient
import Testing

@testable import CommandSupport

struct SettingValueTests {
  private func rejects<Value: SettingValue>(_ type: Value.Type, _ text: String) -> Bool {
    do throws(InvalidSetting) {
      _ = try Value(setting: text)
      return false
    } catch {
      return !error.description.isEmpty
    }
  }

  @Test func `whole numbers may be grouped by underscores`() throws {
    #expect(try Int(setting: "1_000_000") == 1_000_000)
    #expect(try Int(setting: "-3") == -3)
    for text in ["", "_", "1.5", "1e3", "0x10", "1,000", " 1", "9223372036854775808"] {
      #expect(rejects(Int.self, text), "\(text)")
    }
  }

  @Test func `numbers are finite`() throws {
    #expect(try Double(setting: "0.25") == 0.25)
    for text in ["", "inf", "nan", "half", "1e999"] { #expect(rejects(Double.self, text), "\(text)") }
  }

  @Test func `yes and no have their usual spellings`() throws {
    for text in ["true", "yes", "on", "1", "True", "YES"] { #expect(try Bool(setting: text)) }
    for text in ["false", "no", "off", "0", "False"] { #expect(try !Bool(setting: text)) }
    for text in ["", "2", "y", "truth"] { #expect(rejects(Bool.self, text), "\(text)") }
  }

  @Test func `lengths of time have units`() throws {
    #expect(try Duration(setting: "250ms") == .milliseconds(250))
    #expect(try Duration(setting: "5s") == .seconds(5))
    #expect(try Duration(setting: "0.5") == .milliseconds(500))
    #expect(try Duration(setting: "2m") == .seconds(120))
    #expect(try Duration(setting: "1.5h") == .seconds(5_400))
    #expect(try Duration(setting: "14d") == .seconds(14 * 86_400))
    #expect(try Duration(setting: "0") == .zero)
    for text in ["", "s", "-1s", "5 s", "1e3", "inf", "nan", "0x1", "1.2.3", "3651d", "5w", "٣s"] {
      #expect(rejects(Duration.self, text), "\(text)")
    }
  }

  @Test func `a listener's address has a host and a port`() throws {
    for (text, host, port) in [
      ("127.0.0.1:8080", "127.0.0.1", 8080), ("[::1]:0", "::1", 0), ("localhost:65535", "localhost", 65535),
      ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
    ] {
      let address = try ListenAddress(setting: text)
      #expect(address.host == host)
      #expect(address.port == port)
      #expect(address.description == text)
    }
    for text in [
      "", ":", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:8080", "[::1]",
      "[]:80", "[host]:80", "[::1:80", "::1]:80", "a b:80", "http://host:80", "host:+80", "host:٣",
      String(repeating: "h", count: 256) + ":80",
    ] {
      #expect(rejects(ListenAddress.self, text), "\(text)")
    }
  }

  @Test func `a member's name fits everywhere a name must fit`() throws {
    #expect(try MemberName(setting: "node-2.eu_1").text == "node-2.eu_1")
    #expect(try MemberName(setting: String(repeating: "n", count: 64)).text.count == 64)
    for text in ["", "a b", "a/b", "a:b", "ä", "a\n", String(repeating: "n", count: 65)] {
      #expect(rejects(MemberName.self, text), "\(text)")
    }
  }

  @Test func `this host's name is a member's name`() throws {
    #expect(try MemberName(setting: MemberName.ofThisHost).text == MemberName.ofThisHost)
  }

  @Test func `namespaces, levels, texts and secrets`() throws {
    #expect(try Namespace(setting: "blue").name == "blue")
    #expect(rejects(Namespace.self, "a:b"))
    #expect(try Logger.Level(setting: "Debug") == .debug)
    #expect(rejects(Logger.Level.self, "loud"))
    #expect(try String(setting: "text") == "text")
    #expect(rejects(String.self, ""))
    #expect(try Secret(setting: "hunter2").revealed == "hunter2")
    #expect(rejects(Secret.self, ""))
  }

  @Test func `a long value is cut in the message`() {
    let error = InvalidSetting(expected: "less", came: String(repeating: "x", count: 1_000))
    #expect(error.description == "expected less, got \"\(String(repeating: "x", count: 100))…\"")
  }
}
