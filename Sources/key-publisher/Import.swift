import ArgumentParser
import CommandSupport

struct Import: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Adds and updates the keys of a list; other keys are left alone.")

  @OptionGroup var list: ListArguments

  func run() async throws { try await list.run("importing", revokesUnlisted: false) }
}
