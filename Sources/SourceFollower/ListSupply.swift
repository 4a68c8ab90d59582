// The origin of a whole list: the customers' database, or a command that prints the list.

import Foundation
import KeyReplica
import KeyStore

/// Supplies a whole list of the source's keys.
enum ListSupply: Sendable {
  /// A command, run by /bin/sh. The command is killed after the time limit.
  case command(String, within: Duration)
  /// A statement for the list, and a statement for the keys that have changes in the outbox.
  case database(SourceDatabase, statement: String, waitingKeys: String?)

  /// The list, and the keys that have changes in the outbox.
  /// - Throws: Any error while reading. An incomplete list is never returned.
  func read() async throws -> (list: KeyListSpool, waiting: Set<KeyID>) {
    switch self {
    case .database(let database, let statement, let waitingKeys):
      return try await database.list(statement, waitingKeys: waitingKeys)
    case .command(let text, let limit):
      // Reading the command's pipe blocks, so it has a thread of its own.
      let list: KeyListSpool = try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
          continuation.resume(with: Result { try Self.list(ofCommand: text, within: limit) })
        }
      }
      return (list, [])
    }
  }

  private static func list(ofCommand text: String, within limit: Duration) throws -> KeyListSpool {
    let command = try ExportCommand(text, within: limit)
    let read = Result { try KeyListSpool.reading(command.output) }
    // If the command failed, its failure is reported, and not the list that was cut off as a result. If reading stopped
    // early, the bad list is reported, because the command may have failed only because nobody read its output.
    if case .failure(let bad as KeyListSpool.BadList) = read, !bad.wasReadToEnd { throw bad }
    try command.finish()
    return try read.get()
  }
}
