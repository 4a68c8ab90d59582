import ArgumentParser
import Fleet
import CommandSupport

/// Removes from the list a member that won't return. Before that it is reported as silent, and the fleet isn't in sync.
struct Forget: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Removes a node or worker that won't come back from the list.",
    discussion:
      "Silent nodes and workers stay listed for a day. A node or worker that still runs reappears with its next report."
  )

  @OptionGroup var access: FleetAccess
  @Argument(help: ArgumentHelp("node or worker", valueName: "kind")) var kind: String
  @Argument(help: ArgumentHelp("Its name.", valueName: "name")) var name: String

  func run() async throws {
    guard let kind = MemberKind(rawValue: kind) else {
      throw ValidationError("expected node or worker, got \"\(Wording.printable(kind))\"")
    }
    // Not parsed as a name: the entry to remove may have been written by another program or by hand.
    try await access.run { fleet in
      do {
        guard try await fleet.directory.forget(kind, name, within: .seconds(2)) else {
          complain("there is no \(kind.rawValue) called \(name)")
          throw Outcome.notInSync
        }
      } catch let error as ExitCode {
        throw error
      } catch {
        complain("unknown: \(error)")
        throw Outcome.cannotTell
      }
      print("\(kind.rawValue) \(Wording.printable(name)) is off the list")
    }
  }
}
