// The consumer's half of the queue, as scripts that Redis runs: each is one atomic step. Each is in a `.lua` file of
// its own, beside the type that knows its keys, arguments and reply. Code that several scripts use is in `Shared`.
//
// Invariants, for authors of changes:
// - At every moment an envelope is in exactly one of: one pending list, `later`, `dead`, one claim. A script moves it
//   from one to another within one run. Only an acknowledgement removes it.
// - Envelopes that return (retried, put back) go to the end of list 0 from which claims take; suspects go to the list
//   of suspects.
// - The list of a claim is the only record of the claim. There is no index of leases that could disagree with it: the
//   list's first element, the header, has the owner and the end of the lease. It is written after the envelopes. A list
//   without a valid header was written by another program or by hand, and its elements are treated as envelopes.
// - A caller that changes a claim passes the instance and the batch of the header. The reaper overwrites both before it
//   moves anything, so that a worker notices that its lease has ended, and can't settle half a batch.
// - Time is Redis's own TIME, so the clocks of the workers' machines don't affect leases. TIME may make steps, forward
//   and back, for example because another server answers after a failover; see clock.lua.
// - `allow-oom`, because scripts that empty the queue must work when Redis is full. None of them makes the data much
//   larger: they move it.
// - A script reads before it writes, wherever a key of the wrong type could end it in the middle.
//
// An envelope that a worker had when it died is a suspect: it may have killed the worker. Only one lane of a worker
// claims suspects, and without other envelopes. First it claims a small group, because most suspects were only in the
// same batch as the cause. Once one more death would make a suspect a dead letter, it is claimed alone, so that one
// poisonous envelope makes no other a dead letter. Suspects wait in a separate list. A claim that finds a suspect in
// another list moves it there. In that list accounts take turns, see `SuspectTurns`: the caller says whose suspects are
// passed over, and the claim moves these behind all others, a limited number in one run. Rejected: the end of list 0,
// where all accounts' small payloads waited behind suspects as long as a receiver didn't answer them.
//
// Redis answers no other command while a script runs, and moving or reading a payload of 16 MiB takes tens of
// milliseconds. So a claim doesn't touch a list if its next envelope is too large for the rest of the claim. The size
// is known if an earlier claim had to put the envelope back, or is estimated from the list's average. A wrong estimate
// costs at most a few claims: the first list of a claim always gives one envelope.
//
// Scripts for operators process a few dead letters in each step, because Redis does nothing else during a step. The
// caller selects them by their small fields; the envelopes, which may be large, stay in Redis. A dead letter is
// identified by its entry's ID in the stream, which no other entry ever gets. If another process took it between the
// read and the action, the script finds it gone, and never acts on another one instead.

internal import Hiredis
internal import RedisClient

enum QueueScripts {
  static let all = [
    ClaimScript.script, SettleScript.script, ExtendScript.script, ReapScript.script, LeaveScript.script,
    StateScript.script, LevelScript.script, SurveyScript.script, DeadLetterBytesScript.script,
    DeadLetterPageScript.script, DeadLetterPartScript.script, RequeueScript.script, DiscardScript.script,
  ]
}

/// The first word of a reply about a claim.
enum ClaimAnswer: String, CaseIterable {
  // Replies to claiming.
  case claimed, held, supplanted, passed, empty
  // Replies to extending and settling.
  case extended, settled, lost, gone

  /// - Parameter expected: The script's possible replies, for the error message.
  init(of items: [RedisReply], expected: String) throws {
    let word = try items.first?.string()
    guard let answer = word.flatMap(ClaimAnswer.init(rawValue:)) else { throw Self.unexpected(word, expected) }
    self = answer
  }

  func unexpected(_ expected: String) -> UnexpectedReply { Self.unexpected(rawValue, expected) }

  private static func unexpected(_ word: String?, _ expected: String) -> UnexpectedReply {
    UnexpectedReply(expected: expected, came: word ?? "an empty array")
  }
}
