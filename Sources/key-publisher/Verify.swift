import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Reads the whole store and checks all digests and counts.")

  @OptionGroup var store: StoreAccess

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      var progress = Progress("verifying", total: StoreLayout.bucketCount, unit: "buckets")
      let verification = try await connection.verifyStore(layout) { progress.update($0) }
      progress.finish()
      try report(verification, by: results)
      if !verification.problems.isEmpty { throw ExitStatus.failed.code }
    }
  }
}

/// Reports the problems of the store.
func complain(of verification: StoreVerification) {
  for problem in verification.problems { complain(problem) }
  if verification.problemCount > verification.problems.count {
    complain("… and \(verification.problemCount - verification.problems.count) more")
  }
}

/// The state of a store, as JSON.
private struct VerifiedStore: Encodable {
  var epoch: String
  var version: UInt64
  var keys: Int
  var states: [String: Int]
  var digest: String
  var sealed: Bool
  var problems: Int
}

private func report(_ verification: StoreVerification, by results: Results) throws {
  complain(of: verification)
  guard let position = verification.position else { return }
  let states = KeyState.allCases.map { "\(verification.keysByState[$0] ?? 0) \($0.word)" }.joined(separator: ", ")
  try results.print(
    """
    epoch    \(position.epoch)
    version  \(position.version)
    keys     \(position.count) (\(states))
    digest   \(position.digest)
    sealed   \(position.sealed ? "yes" : "no")
    result   \(verification.problems.isEmpty ? "every bucket is what it says it is" : "\(verification.problemCount) problems")
    """,
    VerifiedStore(
      epoch: position.epoch, version: position.version, keys: position.count,
      states: Dictionary(uniqueKeysWithValues: KeyState.allCases.map { ($0.word, verification.keysByState[$0] ?? 0) }),
      digest: "\(position.digest)", sealed: position.sealed, problems: verification.problemCount))
}
