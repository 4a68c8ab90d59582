import ArgumentParser
import CommandSupport

struct Sync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes the store equal to a list; keys that aren't on it are revoked.",
    discussion: """
      A key that was put after the list was made isn't on it: say --if-version with the store's version from before, and what \
      was changed since stays.
      """)

  @OptionGroup var list: ListArguments

  func run() async throws { try await list.run("syncing", revokesUnlisted: true) }
}
