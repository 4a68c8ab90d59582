import ArgumentParser
import CommandSupport
import Hiredis
import KeyStore
import RedisClient

struct Seal: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares the store complete, so that nodes may refuse keys that aren't in it.")

  @OptionGroup var store: StoreWriting

  private static let allowEmpty = Setting.flag(
    "allow-empty", "Seal a store without keys, too: every key will be refused.")
  @Flag(help: Self.allowEmpty.help) var allowEmpty = false

  func run() async throws {
    let allowEmpty = try Settings().flag(Self.allowEmpty, given: allowEmpty)
    try await store.run { connection, layout in
      try await sealStore(connection, layout, mayBeEmpty: allowEmpty)
    }
  }
}

/// Sealing is a promise about every record, so every record is read first.
func sealStore(_ connection: RedisConnection, _ layout: StoreLayout, mayBeEmpty: Bool) async throws {
  if case .found = try await connection.storePosition(layout) {
    let verification = try await connection.verifyStore(layout)
    guard verification.problems.isEmpty else {
      report(verification)
      complain("the store isn't sealed")
      throw ExitCode(1)
    }
  }
  do {
    let sealed = try await KeyStoreWriter(connection: connection, layout: layout).seal(mayBeEmpty: mayBeEmpty)
    print("the store is sealed\(sealed.already ? " already" : "") with \(sealed.keys) keys; version \(sealed.version)")
  } catch let error as RedisServerError where [.empty, .absent].contains(error.storeCode) {
    complain(
      "there are no keys in the store, and sealed like this it would refuse everybody; say --allow-empty to do so")
    throw ExitCode(1)
  }
}
