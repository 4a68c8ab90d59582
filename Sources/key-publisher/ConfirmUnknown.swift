import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct ConfirmUnknown: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Confirms that a number of unknown keys is expected, so that nodes answer them 401 again.",
    discussion: """
      If most of the distinct keys that clients send to a node are unknown to the store, the store may lack keys. So \
      the node answers unknown keys 503 (refusal_storm). sync-status prints how many unknown keys there are. If they \
      are unknown for a good reason, such as agents of former customers, confirm their number. Then nodes answer 401 to up \
      to twice as many distinct unknown keys within the time of --refusal-storm-window; beyond that, unknown keys are \
      answered 503 again. The store remembers the number. 0 withdraws the confirmation.
      """)

  @OptionGroup var store: StoreWriting
  @Argument(help: "Number of distinct unknown keys: 0 to \(RecentKeyCounts.confirmedLimit).") var number: Int

  func validate() throws {
    guard (0...RecentKeyCounts.confirmedLimit).contains(number) else {
      throw ValidationError("expected 0 to \(RecentKeyCounts.confirmedLimit) unknown keys, got \(number)")
    }
  }

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      try await KeyStoreWriter(connection: connection, layout: layout).confirm(unknownKeys: number)
      let sentence =
        number == 0
        ? "no unknown keys are confirmed any more"
        : "\(count(number, "unknown key")) confirmed: nodes answer 401 to up to \(RecentKeyCounts.multiple * number) distinct "
          + "unknown keys, regardless of --refusal-storm-share"
      try results.print(sentence, ["unknown_keys": number])
    }
  }
}
