// The consumer's half of the queue, as scripts that Redis runs: each is one atomic step. Each is in a `.lua` file of
// its own, beside the type that knows its keys, arguments and reply. Code that several scripts use is in `Shared`.
//
// Invariants, for authors of changes:
// - At every moment an envelope is in exactly one of: one pending list, `later`, `dead`, one claim. A script moves it
//   from one to another in the same run. Acknowledging is the only way out.
// - Envelopes that return (retried, put back) go to the end of list 0 from which claims take; suspects go to the list
//   of suspects.
// - The list of a claim is the truth about it. There is no index of leases that could disagree with it: the header, its
//   first element, has the owner and the end of the lease. It is written after the envelopes are there. A list without
//   a valid header was written by another program or by hand, and its elements are treated as envelopes.
// - A caller that changes a claim passes instance and batch of its header. The reaper overwrites them before it moves
//   anything, so that a worker whose lease ended notices it, and can't settle half a batch.
// - Time is Redis's own TIME, so the clocks of the workers' machines don't affect leases. It may make steps, forward
//   and back, also because after a failover it is another server's; see clock.lua.
// - `allow-oom`, because scripts that empty the queue must work when Redis is full. None of them makes the data much
//   larger: they move it.
// - Reads are before writes wherever a key of the wrong type could end the script in its middle.
//
// An envelope that a worker had when it died is a suspect: it may have killed the worker. Suspects are claimed by one
// lane of a worker only and without others: in a small group at first, because most were only in the same batch, and
// alone once one more death would make a dead letter, so that one poisonous envelope doesn't make others dead letters.
// They wait in a list of their own. A claim that meets one elsewhere moves it there. They used to wait at the end of
// list 0. There everybody's small payloads waited behind them, for as long as a receiver didn't answer them.
//
// Redis answers nobody while a script runs, and moving or reading a payload of 16 MiB takes tens of milliseconds. So a
// list whose next envelope is too large for the rest of a claim isn't touched. Its size is known if an earlier claim
// had to put it back, or is estimated from the list's average. A wrong estimate costs no more than a claim or a few:
// the first list of a claim always gives one envelope.
//
// Scripts for operators process a few dead letters in each step, because Redis does nothing else meanwhile. The caller
// selects them by their small fields; the envelopes, which may be large, stay in Redis. A dead letter is identified by
// its entry's ID in the stream, which no other entry ever gets. If somebody else took it between reading and acting, it
// is gone, and never another one in its place.

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
  case claimed, held, supplanted, empty
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
