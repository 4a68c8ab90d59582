import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore
import RedisClient

struct List: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints all keys of the store, or those of an account or in a state.",
    discussion: """
      As CSV with the columns key_id, account, state, revision and expires_at (seconds since 1970), which import and sync \
      take; with --json one object a line, with times and versions too. The order is arbitrary. A key that changes meanwhile is printed in its old or its new state.
      """)

  @OptionGroup var store: StoreAccess

  private static let account = Setting<String>(
    "account", "Only keys of this account.", shown: "account", as: "all")
  @Option(help: Self.account.help) var account: String?

  private static let state = Setting<ListedState>(
    "state", "Only keys in this state: active, suspended or revoked.", shown: "state", as: "all")
  @Option(help: Self.state.help) var state: String?

  func run() async throws {
    let settings = Settings()
    let results = try store.results()
    let account = try settings.optional(Self.account, given: account)
    let state = try settings.optional(Self.state, given: state)?.state
    try await store.run { connection, layout in
      if !results.isJSON { try results.write("key_id,account,state,revision,expires_at\n") }
      let unreadable = try await connection.eachStoredKey(layout) { keys in
        var text = ""
        for stored in keys {
          let record = stored.record
          guard account == nil || account == record.account, state == nil || state == record.state else { continue }
          if results.isJSON {
            text += try Results.line(KeyResult(stored.key, record))
          } else {
            let revision = record.revision.map { "\($0)" } ?? ""
            let expiry = record.expiresAt.map { "\($0)" } ?? ""
            text += "\(stored.key.hex),\(Self.field(record.account)),\(record.state.word),\(revision),\(expiry)\n"
          }
        }
        if !text.isEmpty { try results.write(text) }
      }
      if unreadable > 0 {
        complain("\(count(unreadable, "record")) can't be read and isn't printed; key-publisher verify says which")
        throw ExitStatus.failed.code
      }
    }
  }

  /// In quotation marks if CSV requires them.
  private static func field(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\"") }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }
}

/// A state to filter keys by.
private struct ListedState: SettingValue {
  let state: KeyState

  static let expectation = "active, suspended or revoked"

  init(setting text: String) throws(InvalidSetting) {
    guard let state = KeyState(word: text) else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self.state = state
  }
}
