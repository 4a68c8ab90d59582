// Where a whole list comes from: the customers' database, or a command that prints it.

import Foundation
import KeyReplica
import KeyStore

/// What gives a whole list of the source's keys.
enum ListSupply: Sendable {
  /// A command, run by /bin/sh; it is killed after the time.
  case command(String, within: Duration)
  /// A statement, and one for the keys that have changes in the outbox.
  case database(SourceDatabase, statement: String, waitingKeys: String?)

  /// The list, and the keys whose changes wait elsewhere.
  /// - Throws: Whatever came in the way: a list that isn't whole is none.
  func read() async throws -> (list: KeyListSpool, waiting: Set<KeyID>) {
    switch self {
    case .database(let database, let statement, let waitingKeys):
      return try await database.list(statement, waitingKeys: waitingKeys)
    case .command(let text, let limit):
      // Its pipe is read on a thread of its own: it waits.
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
    // The command's own failure is what to tell: a list that was cut off is its consequence. One that wasn't read to its
    // end can't tell it.
    if case .failure(let bad as KeyListSpool.BadList) = read, !bad.wasReadToEnd { throw bad }
    try command.finish()
    return try read.get()
  }
}
