// The program of all that is measured: figures beside peers for people, and the limits on instructions for machines.

import ArgumentParser

@main
struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures Sluice.", subcommands: [BenchCommand.self, InstructionsCommand.self, PieceCommand.self],
    defaultSubcommand: BenchCommand.self)
}
