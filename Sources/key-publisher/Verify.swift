import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Reads the whole store and checks all digests and counts.")

  @OptionGroup var store: StoreAccess

  func run() async throws {
    try await store.run { connection, layout in
      var progress = Progress("verifying", total: StoreLayout.bucketCount, unit: "buckets")
      let verification = try await connection.verifyStore(layout) { progress.update($0) }
      progress.finish()
      report(verification)
      if !verification.problems.isEmpty { throw ExitCode(1) }
    }
  }
}

func report(_ verification: StoreVerification) {
  for problem in verification.problems { complain(problem) }
  if verification.problemCount > verification.problems.count {
    complain("… and \(verification.problemCount - verification.problems.count) more")
  }
  guard let position = verification.position else { return }
  let states = KeyState.allCases.map { "\(verification.keysByState[$0] ?? 0) \($0.word)" }.joined(separator: ", ")
  print(
    """
    epoch    \(position.epoch)
    version  \(position.version)
    keys     \(position.count) (\(states))
    digest   \(position.digest)
    sealed   \(position.sealed ? "yes" : "no")
    result   \(verification.problems.isEmpty ? "every bucket is what it says it is" : "\(verification.problemCount) problems")
    """)
}
