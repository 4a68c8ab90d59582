// key-publisher: the hand that writes the key store. Each verb answers only when its change is in the store, so that a script may
// rely on the exit status; standard error says why it isn't 0.

import ArgumentParser
import CommandSupport
import Foundation

@main
struct KeyPublisher: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key-publisher",
    abstract: "Writes the API keys that ingest nodes mirror.",
    discussion: """
      A key is stored as its SHA-256 only. Lists are CSV with a header line, or one JSON object a line, with the columns \
      key (a secret) or key_id (its SHA-256 in hexadecimal digits), account, and optionally state (active, suspended, \
      revoked) and revision (a number that grows with each change of the key in your database).

      A change that comes late undoes nothing: revoked is final, a key stays with its account, and a list without a state \
      leaves the state that the store has, unless an option says otherwise.

      Exit status: 0 it is done; 1 it isn't; 3 the list would take away more keys than --max-revoked allows, and nothing was \
      changed; 4 the key was left as it is, because it is revoked, belongs to another account, or was changed since; 64 the \
      command line makes no sense; 75 it is done in the primary, but not all declared replicas are known to have it: a \
      failover could lose it, run the verb again to confirm it.
      """,
    version: BuildDescription.current,
    subcommands: [
      Import.self, Sync.self, Put.self, Suspend.self, Revoke.self, Seal.self, Confirm.self, Replicas.self, Verify.self,
      Reseal.self, PurgeRevoked.self,
    ])
}

extension ExitCode {
  /// A list would take away more than is allowed; nothing was changed.
  static let tooManyKeys = ExitCode(3)
  /// What the store has stands against the change; the key was left as it is.
  static let keyLeftAlone = ExitCode(4)
}

func complain(_ text: String) {
  FileHandle.standardError.write(Data("key-publisher: \(text)\n".utf8))
}
