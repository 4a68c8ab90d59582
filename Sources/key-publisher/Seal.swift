import ArgumentParser
import CommandSupport
import Hiredis
import KeyReplica
import KeyStore
import RedisClient

struct Seal: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares the store complete, so that nodes may refuse keys that aren't in it.")

  @OptionGroup var store: StoreWriting

  @Flag(help: .confirmation("Seal a store without keys, too: every key will be refused.")) var allowEmpty = false

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      let sealed = try await sealStore(connection, layout, mayBeEmpty: allowEmpty)
      try results.print(sealed.sentence, sealed)
    }
  }
}

/// A sealed store, as JSON.
struct SealedStore: Encodable {
  var sealed = true
  /// Whether this command sealed it.
  var changed: Bool
  var keys: Int
  var version: UInt64

  var sentence: String { "the store is sealed\(changed ? "" : " already") with \(keys) keys; version \(version)" }
}

/// The store can't be sealed as it is.
struct CannotSeal: Error, CustomStringConvertible {
  let description: String
}

/// Reads every record before sealing, because the seal is a promise about every record.
/// - Throws: ``CannotSeal``, and Redis's errors.
func sealStore(
  _ connection: RedisConnection, _ layout: StoreLayout, mayBeEmpty: Bool
) async throws -> SealedStore {
  if case .found = try await connection.storePosition(layout) {
    let verification = try await connection.verifyStore(layout)
    guard verification.problems.isEmpty else {
      complain(of: verification)
      throw CannotSeal(
        description: "not sealed: repair the problems above first (key-publisher import or reseal)")
    }
  }
  do {
    let sealed = try await KeyStoreWriter(connection: connection, layout: layout).seal(mayBeEmpty: mayBeEmpty)
    return SealedStore(changed: !sealed.already, keys: sealed.keys, version: sealed.version)
  } catch let error as RedisServerError where [.empty, .absent].contains(error.storeCode) {
    throw CannotSeal(
      description: "the store is empty: sealing it would refuse every key. To seal it anyway: "
        + "key-publisher seal --allow-empty")
  }
}
