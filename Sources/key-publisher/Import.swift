import ArgumentParser
import CommandSupport

struct Import: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Adds and updates the keys of a list; other keys are left alone.",
    discussion: ListHelp.text)

  @OptionGroup var list: ListArguments

  func run() async throws { try await list.run("import", revokesUnlisted: false) }
}
