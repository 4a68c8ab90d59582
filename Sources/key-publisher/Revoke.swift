import ArgumentParser
import CommandSupport
import Foundation
import KeyReplica
import KeyStore
import RedisClient

struct Revoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Revokes a key, or all keys of an account, permanently.",
    discussion: """
      Only put --reactivate makes a revoked key active again. With --due it revokes the keys whose time has come after rotate \
      --revoke-after; run that regularly. import, sync and rotate do it too.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var keys: KeysArguments
  @OptionGroup var basis: RevisionArguments
  @Flag(help: .commandLineOnly("Revoke the keys whose time has come after rotate --revoke-after."))
  var due = false

  private struct Result: Encodable {
    var revoked: Int
    var left: Int
    var waiting: Int
    /// Due keys whose records can't be read. They are due until the store is repaired.
    var damaged: Int
  }

  func run() async throws {
    guard due else { return try await setState(.revoked, keys, store, basis) }
    guard keys.isEmpty else { throw ValidationError("expected either --due, or --key, --key-id or --account") }
    let results = try store.results()
    try await store.run { connection, layout in
      let outcome = try await revokeDueKeys(connection, layout)
      try results.print(
        "\(count(outcome.revoked, "key")) revoked, \(outcome.left) changed since the rotation and left as they are, "
          + "\(outcome.waiting) not due yet",
        Result(
          revoked: outcome.revoked, left: outcome.left, waiting: outcome.waiting, damaged: outcome.damaged.count))
      if !outcome.damaged.isEmpty { throw ExitStatus.failed.code }
    }
  }
}

/// Revokes the old keys of rotations that are due, and complains about those whose records can't be read.
func revokeDueKeys(_ connection: RedisConnection, _ layout: StoreLayout) async throws -> DueRevocations.Outcome {
  let outcome = try await DueRevocations(connection: connection, layout: layout).carryOut(
    now: Int64(Date().timeIntervalSince1970))
  if let first = outcome.damaged.first {
    complain("\(count(outcome.damaged.count, "due key")) couldn't be revoked: \(DamagedRecord(key: first))")
  }
  return outcome
}
