// The verbs that take a list. A list is trusted as far as a person would trust it who sees what it does: what takes
// keys away from customers, or gives them to others, is counted before anything is written, and too much of it is
// refused with a sentence that says what.

import ArgumentParser
import CommandSupport
import Foundation
import KeyReplica
import KeyStore
import RedisClient

/// What both verbs take.
struct ListArguments: ParsableArguments {
  @OptionGroup var store: StoreWriting
  @Argument(help: "The list's file, or - for standard input.") var file: String

  private static let maxRevoked = Setting<Double>(
    "max-revoked",
    "Refuse a list that takes more than this share of the active keys out of service (revoked, suspended or, with sync, not "
      + "listed) or moves them to another account. 100 allows everything.",
    shown: "percent", default: "5", in: 0...100)
  @Option(help: Self.maxRevoked.help) var maxRevoked: String?

  private static let seal = Setting.flag("seal", "Seal the store when the whole list is in it.")
  @Flag(help: Self.seal.help) var seal = false

  // Not in the environment: what overrules somebody else's decision is said with each command.
  @Flag(
    help: ArgumentHelp(
      "Make revoked keys what the list says, and keys whose state it doesn't say active. Otherwise they stay as they are."
    ))
  var reactivate = false

  @OptionGroup var basis: BasisArguments

  func run(_ verb: String, revokesUnlisted: Bool) async throws {
    let settings = Settings()
    let maxRevoked = try settings.value(Self.maxRevoked, given: maxRevoked)
    let seal = try settings.flag(Self.seal, given: seal)
    let terms = ListConsequences.Terms(
      revokesUnlisted: revokesUnlisted, reactivates: reactivate, version: try basis.version())
    try await store.run { connection, layout in
      let list = try readList(file)
      let publication = Publication(connection: connection, layout: layout, terms: terms)
      let plan = try await publication.plan(for: list)
      guard plan.isWithin(percent: maxRevoked) else {
        complain(refusal(of: plan, maxRevoked: maxRevoked))
        throw ExitCode.tooManyKeys
      }
      var progress = Progress(verb, total: list.entryCount)
      let outcome = try await publication.carryOut(list, agreed: plan) { progress.update($0) }
      progress.finish()
      try report(outcome, entries: list.entryCount)
      if seal { try await sealStore(connection, layout, mayBeEmpty: false) }
    }
  }

  private func report(_ outcome: Publication.Outcome, entries: Int) throws {
    guard let edits = outcome.edits else {
      print("the list is empty; nothing was changed")
      return
    }
    let consequences = outcome.consequences
    let revoked =
      consequences[.listedRevoked] + consequences[.unlisted] + consequences[.suspendedUnlisted]
    print(
      "\(entries) entries: \(edits.changed) changed, \(edits.unchanged) as they were; \(revoked) revoked, "
        + "\(consequences[.listedSuspended]) suspended, \(consequences[.moved]) moved to another account; version \(edits.version)"
    )
    let left: [(Int, String)] = [
      (
        edits[.staysRevoked] + edits.leftRevoked,
        "keys are revoked in the store and stay so; --reactivate makes them what the list says"
      ),
      (edits.leftSuspended, "keys are suspended in the store and stay so: the list says nothing of their state"),
      (edits[.newerVersion], "keys were changed since the version of --if-version and were left alone"),
      (edits[.olderRevision], "keys have a larger revision in the store and were left alone"),
    ]
    for (count, words) in left where count > 0 { print("\(count) \(words)") }
    let overtaken = edits[.otherAccount] + edits[.unagreed]
    if overtaken > 0 {
      complain("\(overtaken) keys were changed by somebody else meanwhile and were left alone; run it again")
      throw ExitCode(1)
    }
  }
}

/// What a list would have done, and how to have it done.
private func refusal(of plan: ListConsequences, maxRevoked: Double) -> String {
  var lines = [
    "the list would take \(plan.count) of \(plan.active) active keys out of service or to another account, more than "
      + "\(maxRevoked.formatted(.number.grouping(.never)))%. Nothing was changed."
  ]
  for kind in ListConsequences.Kind.allCases where plan[kind] > 0 {
    let words =
      switch kind {
      case .listedRevoked: "would be revoked: the list says so"
      case .listedSuspended: "would be suspended: the list says so"
      case .unlisted: "would be revoked: they aren't on the list"
      case .suspendedUnlisted: "are suspended and would be revoked for good: they aren't on the list"
      case .moved: "would move to another account"
      }
    let examples = plan.examples(of: kind).map { "\"\($0)\"" }.joined(separator: ", ")
    lines.append("\(plan[kind]) \(words). Some of their accounts: \(examples)")
  }
  lines.append("If that is what you want, say --max-revoked \(plan.neededPercent.formatted(.number.grouping(.never))).")
  return lines.joined(separator: "\nkey-publisher: ")
}

private func readList(_ path: String) throws -> KeyListSpool {
  let file: FileHandle
  if path == "-" {
    file = .standardInput
  } else {
    guard let opened = FileHandle(forReadingAtPath: path) else {
      complain("can't open \(path): \(String(cString: strerror(errno)))")
      throw ExitCode(1)
    }
    file = opened
  }
  var progress = Progress("reading", total: nil)
  do {
    let list = try KeyListSpool.reading(file) { entries, _ in progress.update(entries) }
    progress.finish()
    return list
  } catch let bad as KeyListSpool.BadList {
    progress.finish()
    for problem in bad.problems { complain("\(path): \(problem)") }
    if bad.gaveUp { complain("… and perhaps more") }
    complain("nothing was changed in the store")
    throw ExitCode(1)
  }
}
