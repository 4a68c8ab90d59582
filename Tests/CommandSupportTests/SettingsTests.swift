import ArgumentParser
import Logging
import RedisClient
import Testing

@testable import CommandSupport

struct SettingsTests {
  /// The sentence that the body complains with.
  private func complaint<Value>(_ body: () throws(ValidationError) -> Value) -> String? {
    do throws(ValidationError) {
      _ = try body()
      return nil
    } catch {
      return error.message
    }
  }

  @Test func `the command line wins over the environment, which wins over the default`() throws {
    let settings = Settings(environment: ["SLUICE_BATCH": "2"])
    #expect(try settings.value(Setting<Int>("batch", "", shown: "x", default: "1"), given: "3") == 3)
    #expect(try settings.value(Setting<Int>("batch", "", shown: "x", default: "1"), given: nil) == 2)
    #expect(try Settings(environment: [:]).value(Setting<Int>("batch", "", shown: "x", default: "1"), given: nil) == 1)
  }

  @Test func `dashes are underscores and letters capitals in the variable's name`() throws {
    #expect(Settings.variable(of: "flush-after-2") == "SLUICE_FLUSH_AFTER_2")
    let settings = Settings(environment: ["SLUICE_FLUSH_AFTER_2": "5s"])
    #expect(
      try settings.value(Setting<Duration>("flush-after-2", "", shown: "x", default: "1s"), given: nil) == .seconds(5))
  }

  @Test func `an empty variable counts as not set`() throws {
    let settings = Settings(environment: ["SLUICE_BATCH": ""])
    #expect(try settings.optional(Setting<Int>("batch", "", shown: "x"), given: nil) == nil)
  }

  @Test func `a variable without the prefix isn't ours`() throws {
    let settings = Settings(environment: ["BATCH": "2", "sluice_batch": "3"])
    #expect(try settings.optional(Setting<Int>("batch", "", shown: "x"), given: nil) == nil)
  }

  @Test func `a complaint says where the value came from, what was expected and what came`() {
    let settings = Settings(environment: ["SLUICE_BATCH": "many"])
    #expect(
      complaint { () throws(ValidationError) in
        try settings.value(Setting<Int>("batch", "", shown: "x", default: "1"), given: "few")
      }
        == "--batch on the command line: expected a whole number, got \"few\"")
    #expect(
      complaint { () throws(ValidationError) in
        try settings.value(Setting<Int>("batch", "", shown: "x", default: "1"), given: nil)
      }
        == "--batch from the environment variable SLUICE_BATCH: expected a whole number, got \"many\"")
  }

  @Test func `an empty value on the command line is an error, not the default`() {
    #expect(
      complaint { () throws(ValidationError) in
        try Settings(environment: [:]).value(Setting<Int>("batch", "", shown: "x", default: "1"), given: "")
      } == "--batch on the command line: expected a whole number, got \"\"")
  }

  @Test func `a value outside its range names the range`() throws {
    let settings = Settings(environment: ["SLUICE_BATCH": "0"])
    #expect(
      complaint { () throws(ValidationError) in
        try settings.value(Setting<Int>("batch", "", shown: "x", default: "10", in: 1...100), given: nil)
      }
        == "--batch from the environment variable SLUICE_BATCH: expected a whole number from 1 to 100, got \"0\"")
    #expect(try settings.value(Setting<Int>("batch", "", shown: "x", default: "10", in: 1...100), given: "100") == 100)
    #expect(
      complaint { () throws(ValidationError) in
        try settings.optional(Setting<Int>("batch", "", shown: "x", in: 1...2), given: nil)
      }
        != nil)
    #expect(
      try Settings(environment: [:]).optional(Setting<Int>("batch", "", shown: "x", in: 1...2), given: nil) == nil)
  }

  @Test func `a missing option that has no default names both ways to give it`() {
    #expect(
      complaint { () throws(ValidationError) in
        try Settings(environment: [:]).value(Setting<MemberName>("node", "", shown: "x", isRequired: true), given: nil)
      } == """
        --node is missing: give it on the command line or as the environment variable SLUICE_NODE; \
        expected 1 to 64 letters, digits, "_", "." or "-"
        """)
  }

  @Test func `a flag is on by the command line or by the environment`() throws {
    #expect(try Settings(environment: [:]).flag(.flag("json", ""), given: false) == false)
    #expect(try Settings(environment: [:]).flag(.flag("json", ""), given: true))
    #expect(try Settings(environment: ["SLUICE_JSON": "yes"]).flag(.flag("json", ""), given: false))
    #expect(try Settings(environment: ["SLUICE_JSON": "no"]).flag(.flag("json", ""), given: false) == false)
    #expect(
      complaint { () throws(ValidationError) in
        try Settings(environment: ["SLUICE_JSON": "maybe"]).flag(.flag("json", ""), given: false)
      } == "--json from the environment variable SLUICE_JSON: expected true or false, got \"maybe\"")
  }

  @Test func `the help says the default, or that there has to be a value, and the variable`() {
    func help<Value>(_ setting: Setting<Value>) -> String { setting.help.abstract }
    #expect(
      help(Setting<Int>("batch", "So many.", shown: "n", default: "7"))
        == "So many. (default: 7; environment: SLUICE_BATCH)")
    #expect(
      help(Setting<Int>("batch", "So many.", shown: "n", as: "no bound"))
        == "So many. (default: no bound; environment: SLUICE_BATCH)")
    #expect(
      help(Setting<Int>("batch", "So many.", shown: "n", isRequired: true))
        == "So many. (required; environment: SLUICE_BATCH)")
    #expect(help(.flag("json", "One document.")) == "One document. (environment: SLUICE_JSON)")
  }

  @Test func `the four commands' Redis and namespace have their defaults`() throws {
    let arguments = try RedisArguments.parse([])
    #expect(
      try arguments.endpoint(Settings(environment: [:])) == RedisEndpoint(address: .tcp(host: "127.0.0.1", port: 6379)))
    #expect(try arguments.namespace(Settings(environment: ["SLUICE_NAMESPACE": "blue"])).name == "blue")
  }

  @Test func `a wrong Redis address is explained without its password`() throws {
    let arguments = try RedisArguments.parse(["--redis", "redis://user:hunter2@host:port"])
    let text =
      complaint { () throws(ValidationError) in try arguments.endpoint(Settings(environment: [:])) } ?? "no complaint"
    #expect(text.hasPrefix("--redis on the command line: not a Redis address: expected a port"))
    #expect(!text.contains("hunter2"))
  }

  @Test func `a complaint ends the command with exit code 64`() {
    #expect(RedisCommandOfTests.exitCode(for: ValidationError("no")).rawValue == 64)
  }

  private struct RedisCommandOfTests: ParsableCommand {}
}
