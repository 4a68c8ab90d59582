import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct ConfirmUnknown: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Confirms that many unknown keys are rightly unknown, so that nodes refuse them again.",
    discussion: """
      If most of the distinct keys that a node is shown are unknown to the store, the store may lack keys. So the node \
      answers them 503 (refusal_storm). sync-status says how many they are. If there is a good reason, such as agents of \
      former customers, confirm that number: nodes then refuse up to twice as many within the time of \
      --refusal-storm-window, and answer 503 again above. The store remembers the number. 0 takes it back.
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
        : "\(count(number, "unknown key")) confirmed: up to \(RecentKeyCounts.multiple * number) are refused, however few others are shown"
      try results.print(sentence, ["unknown_keys": number])
    }
  }
}
