// Requeueing and discarding dead letters: the same steps through all shards, and the same messages.

import ArgumentParser
import Fleet
import IngestQueue
import CommandSupport

struct DeadRequeue: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "requeue", abstract: "Requeues dead letters and resets their attempts and deaths.",
    discussion: """
      They are queued after the waiting payloads, oldest first. One that fails again becomes a dead letter again. Exit \
      status: 0 done, 1 a given ID isn't a dead letter or can't be read, 2 not all shards were processed; run it again.
      """)

  @OptionGroup var access: FleetAccess
  @OptionGroup var choice: DeadLetterChoice

  func run() async throws {
    let (filter, limit) = try choice.resolve(Settings())
    try await access.run { fleet in
      let (tally, areAll) = await sweep(fleet) { letters, tally throws(QueueFailure) in
        try await letters.requeue(filter, limit: limit - tally.done.total, tally: &tally)
      }
      try write("requeued \(Wording.number(tally.done.total, "dead letter"))\n" + reasons(tally))
      try conclude(tally, filter, limit, areAll: areAll)
    }
  }
}

struct DeadDiscard: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard", abstract: "Discards dead letters.",
    discussion: """
      Without --yes it only counts, changes nothing, and ends with status 1 if there is something to do. Exit status \
      otherwise: 0 done, 1 a given ID isn't a dead letter, 2 not all shards were processed; run it again.
      """)

  @OptionGroup var access: FleetAccess
  @OptionGroup var choice: DeadLetterChoice

  @Flag(help: .confirmation("Do it.")) var yes = false

  func run() async throws {
    let settings = Settings()
    let (filter, limit) = try choice.resolve(settings)
    try await access.run { fleet in
      guard yes else {
        let (tally, areAll) = await sweep(fleet) { letters, tally throws(QueueFailure) in
          try await letters.count(filter, limit: limit - tally.done.total, tally: &tally)
        }
        try write("would discard \(Wording.number(tally.done.total, "dead letter"))\n" + reasons(tally))
        if tally.done.total > 0 {
          complain("nothing was changed; to discard them use --yes")
          throw areAll ? Outcome.notInSync : Outcome.cannotTell
        }
        return try conclude(tally, filter, limit, areAll: areAll)
      }
      let (tally, areAll) = await sweep(fleet) { letters, tally throws(QueueFailure) in
        try await letters.discard(filter, limit: limit - tally.done.total, tally: &tally)
      }
      try write("discarded \(Wording.number(tally.done.total, "dead letter"))\n" + reasons(tally))
      try conclude(tally, filter, limit, areAll: areAll)
    }
  }
}

/// Goes through the shards one after the other. An error in one is reported, and the others are processed.
private func sweep(
  _ fleet: FleetAccess.Fleet,
  _ act: (DeadLetters, inout DeadLetterTally) async throws(QueueFailure) -> Void
) async -> (DeadLetterTally, areAll: Bool) {
  var (shards, areAll) = await fleet.deadLetters()
  var tally = DeadLetterTally()
  for shard in shards {
    do throws(QueueFailure) {
      try await act(shard.letters, &tally)
    } catch {
      complain("\(shard.place) was not processed: \(error)")
      areAll = false
    }
  }
  return (tally, areAll)
}

private func reasons(_ tally: DeadLetterTally) -> String {
  let reasons = tally.done
  var lines = reasons.sorted.map { "  \(Wording.count($0.count)) × \(Wording.printable($0.reason))\n" }
  if reasons.others > 0 { lines.append("  \(Wording.count(reasons.others)) × (further reasons)\n") }
  return lines.joined()
}

/// Reports the part that wasn't done.
/// - Throws: The exit status, unless all was done.
private func conclude(
  _ tally: DeadLetterTally, _ filter: DeadLetterFilter, _ limit: Int, areAll: Bool
) throws {
  if tally.gone > 0 { complain("\(Wording.count(tally.gone)) were requeued or discarded by somebody else meanwhile") }
  if tally.unreadable > 0 {
    complain(
      "\(Wording.count(tally.unreadable)) can't be read and stay: save them with show --payload, or discard them with --id"
    )
  }
  // If the limit ended it, the remaining IDs weren't looked for.
  let missing = tally.done.total < limit ? (filter.ids ?? []).subtracting(tally.metIDs).sorted() : []
  for id in missing.prefix(20) { complain("there is no dead letter \(id)") }
  if missing.count > 20 { complain("\(Wording.count(missing.count - 20)) more of the given IDs aren't dead letters") }
  if !areAll { throw Outcome.cannotTell }
  if tally.unreadable > 0 || !missing.isEmpty { throw Outcome.notInSync }
}
