import ArgumentParser
import CommandSupport

struct Sync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes the store equal to a list; keys that aren't on it are revoked.",
    discussion: ListHelp.text)

  @OptionGroup var list: ListArguments

  func run() async throws { try await list.run("sync", revokesUnlisted: true) }
}

/// The help text that both verbs share.
enum ListHelp {
  static let text = """
    The whole list is read and checked before anything is changed. Nothing is changed if a line can't be understood, if the \
    last line has no line feed, if --command fails, or if the number of records isn't as expected. From a pipe, sync and --seal \
    need --expect or --expect-at-least: a pipe doesn't say whether the export failed. With --command the exit status says it:

      key-publisher sync --command "psql -qAt -c 'COPY (SELECT …) TO STDOUT CSV HEADER'"

    A list is as old as its beginning. Keys that the store changed since then stay as they are, and are counted. The beginning \
    is when this command begins, or the version that --as-of says. Only one list is applied at a time; others wait (--wait).
    """
}
