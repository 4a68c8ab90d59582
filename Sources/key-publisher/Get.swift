import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore
import RedisClient

struct Get: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints what the store knows of a key.",
    discussion: "Exit status: 0 the store knows the key, in whatever state; 1 it doesn't; 75 Redis can't be reached.")

  @OptionGroup var store: StoreAccess
  @OptionGroup var key: KeyArguments
  @Argument(help: ArgumentHelp("The key itself, or - to read it from standard input.", valueName: "key"))
  var secret: String?

  func run() async throws {
    let results = try store.results()
    let id: KeyID
    if let secret {
      guard key.isEmpty else { throw ValidationError("expected one key, got both an argument and --key or --key-id") }
      id = try KeyArguments.id(ofSecret: secret)
    } else {
      id = try key.resolve()
    }
    try await store.run { connection, layout in
      guard let record = try await connection.storedRecord(of: id, layout) else {
        complain("the store doesn't know key \(id)")
        throw ExitStatus.failed.code
      }
      let since = Results.time(record.since)
      let version = record.version.map { "; changed at version \($0)" } ?? ""
      let revision = record.revision.map { "; revision \($0)" } ?? ""
      let expiry = record.expiresAt.map { "; ends at \(Results.time($0))" } ?? ""
      try results.print(
        "key \(id) of \(record.account) is \(record.state.word) since \(since)\(expiry)\(version)\(revision)",
        KeyResult(id, record))
    }
  }
}

extension KeyResult {
  init(_ key: KeyID, _ record: KeyRecord) {
    self.init(
      keyId: key.hex, account: record.account, state: record.state.word, since: record.since,
      expiresAt: record.expiresAt, revision: record.revision, version: record.version)
  }
}
