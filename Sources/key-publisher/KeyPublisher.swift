// key-publisher: writes the key store. Each verb answers only when its change is in the store, so that a script may
// rely on the exit status. If it isn't 0, standard error has the reason.

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

      A change that arrives late can't undo a newer one: revoked is final, and a key stays with its account. A list without a state column keeps the \
      states in the store. Options such as --reactivate override this.

      Exit status:
      0   done
      1   failed, and would fail again: no such key, or the store is damaged
      3   the list would remove more keys than --max-revoked allows; nothing was changed
      4   the key was left as it is: it is revoked, belongs to another account, or was changed since
      64  usage error
      65  the list isn't valid: bad lines, cut off, or another number of records than expected; nothing was changed
      66  the list can't be opened
      75  try again later: Redis is unreachable or read-only, --command failed, another list is being applied, or the cluster \
      slot is moving. Also: the change is written, but not confirmed by all declared replicas; run it again to confirm
      77  Redis rejects the user or its password, or denies it a command

      With --json each verb prints its result as one JSON object (list: one a line). Messages stay on standard error.
      """,
    version: BuildDescription.current,
    subcommands: [
      Import.self, Sync.self, Put.self, Suspend.self, Activate.self, Revoke.self, Rotate.self, Get.self, List.self,
      Position.self, Create.self, Seal.self, Confirm.self, ConfirmUnknown.self, Adopt.self, Replicas.self, Verify.self,
      Reseal.self, PurgeRevoked.self, Follow.self, Source.self, Serve.self,
    ])
}

func complain(_ text: String) {
  FileHandle.standardError.write(Data("key-publisher: \(text)\n".utf8))
}

/// "1 key", "2 keys".
func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
