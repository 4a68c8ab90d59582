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
    The whole list is read and checked before anything is changed. Nothing is changed if a line isn't valid, if the \
    last line has no line feed, if --command fails, or if the number of records isn't as expected. From a pipe, sync and --seal \
    need --expect or --expect-at-least: a pipe doesn't tell whether the export failed. With --command the exit status tells it:

      key-publisher sync --command "psql -qAt -c 'COPY (SELECT …) TO STDOUT CSV HEADER'"

    Keys that changed in the store after the list was begun keep their newer state, and are counted. The list begins when \
    this command starts, or at the version in --as-of. Only one list is applied at a time; others wait (--wait).
    """
}
