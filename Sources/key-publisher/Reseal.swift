import ArgumentParser
import KeyReplica
import KeyStore
import CommandSupport

struct Reseal: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Accepts a damaged store as it is: recounts and seals it.",
    discussion: """
      For a store that was edited by hand, or has lost a bucket, a bucket's summary or its meta hash, and for which there is \
      no list to import. All counts and digests are computed again from the existing records, under a new epoch. Meanwhile no \
      other publisher can write, known keys stay admitted, and unknown keys are answered 503. If reseal is interrupted, run it \
      again: until then this state remains.

      Without --yes it only inspects, changes nothing, and ends with status 1 if there is something to do.

      Keys that are gone from the store stay admitted by the nodes that knew them, until key-publisher confirm or until the \
      keys are put again. The store keeps its ID and its name.
      """)

  @OptionGroup var store: StoreWriting

  @Flag(help: .confirmation("Do it.")) var yes = false

  @Flag(help: .confirmation("Discard entries that aren't records or can't be read.")) var dropUnreadable = false

  @Flag(help: .confirmation("Do it even if there are no keys: every key will be refused.")) var allowEmpty = false

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      let rebuild = StoreRebuild(connection: connection, layout: layout)
      var progress = Progress("looking at", total: StoreLayout.bucketCount, unit: "buckets")
      let survey = try await rebuild.survey { progress.update($0) }
      progress.finish()
      guard try isToBeDone(survey, results) else {
        if results.isJSON { try results.print("", ResealResult(changed: false, keys: survey.keys)) }
        return
      }
      guard yes else {
        complain("nothing was changed; to accept the store as it is use --yes")
        throw ExitStatus.failed.code
      }
      progress = Progress("rebuilding", total: StoreLayout.bucketCount, unit: "buckets")
      let (version, keys) = try await rebuild.run(after: survey, droppingUnreadable: dropUnreadable) {
        progress.update($0)
      }
      progress.finish()
      try results.print(
        "the store is sealed with \(keys) keys under a new epoch; version \(version)",
        ResealResult(changed: true, keys: keys, version: version))
    }
  }

  /// Shows the survey, and reports why the store can't be rebuilt if it can't.
  private func isToBeDone(_ survey: StoreSurvey, _ results: Results) throws -> Bool {
    if let why = survey.otherKind {
      complain("\(why); nothing was changed")
      throw ExitStatus.failed.code
    }
    if survey.isAbsent {
      complain("there is no key store in this Redis; nothing was changed")
      throw ExitStatus.failed.code
    }
    let states = KeyState.allCases.map { "\(survey.keysByState[$0] ?? 0) \($0.word)" }.joined(separator: ", ")
    var expected = "unknown"
    if let claimed = survey.claimed {
      let missing = claimed - survey.keys
      expected = "\(claimed) keys"
      if missing != 0 { expected += missing > 0 ? ": \(missing) are missing" : ": \(-missing) are new" }
    }
    try results.remark("found     \(survey.keys) keys (\(states))\nexpected  \(expected)")
    tell(survey.problems, of: survey.problemCount)
    tell(survey.unreadable, of: survey.unreadableCount)
    if survey.problemCount + survey.unreadableCount == 0 {
      try results.remark("result    all buckets match their counts and digests, and the store is sealed: nothing to do")
      return false
    }
    if survey.unreadableCount > 0, !dropUnreadable {
      complain(
        "\(survey.unreadableCount) entries aren't records or can't be read; nothing was changed. Remove them or put these keys again "
          + "by hand (HDEL, HSET), or use --drop-unreadable to discard them")
      throw ExitStatus.failed.code
    }
    if survey.keys == 0, !allowEmpty {
      complain("the store is empty: sealing it would refuse every key. To seal it anyway use --allow-empty")
      throw ExitStatus.failed.code
    }
    return true
  }

  private func tell(_ lines: [String], of count: Int) {
    for line in lines { complain(line) }
    if count > lines.count { complain("… and \(count - lines.count) more") }
  }
}

private struct ResealResult: Encodable {
  var changed: Bool
  var keys: Int
  var version: UInt64?
}
