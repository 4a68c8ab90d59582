// The consumer's half of the queue, as scripts that Redis runs: each is one atomic step. Each is in a `.lua` file of
// its own, beside the type that knows its keys, arguments and reply; what several use is in `Shared`.
//
// Invariants, for whoever changes one:
// - An envelope is at every moment in exactly one of: one pending list, `later`, `dead`, one claim. A script takes it
//   out of one and puts it into another in the same run; acknowledging is the only way out.
// - What comes back (failed and due again, put back) goes to the end of list 0 from which is taken; suspects to the
//   list of suspects.
// - The list of a claim is the truth about it. There is no index of leases that could disagree with it: the header, its
//   first element, says whose it is and until when. It is written after the envelopes are there; a list without a valid
//   header can only be the work of another hand, and what is in it is treated as envelopes.
// - Whoever changes a claim shows instance and batch of its header. The reaper overwrites them before it takes anything
//   out, so that a worker whose lease ended finds out, and can't settle half a batch.
// - Time is Redis's own TIME, so the clocks of the workers' machines play no part in leases. It may make steps, forward
//   and back, also because after a failover it is another server's; see clock.lua.
// - `allow-oom`, because what empties the queue must work when Redis is full. None of them makes the data much larger:
//   they move it.
// - What is read comes before what is written wherever a wrong type of key could end the script in its middle.
//
// An envelope that was in the hands of a worker that died is a suspect: it may be what killed it. Suspects are claimed
// by one lane of a worker only and with nothing else: in a small group at first, because most were only near it, and
// alone once one more death would make a dead letter, so that one poisonous envelope can't take its neighbours along.
// They wait in a list of their own. A claim that meets one elsewhere moves it there. At the end of list 0, where they
// used to wait, everybody's small payloads waited behind them, and for as long as a receiver didn't answer to them.
//
// Redis answers nobody while a script runs, and to move a payload of 16 MiB or read it takes tens of milliseconds. So a
// list whose next envelope is too large for what is left of a claim isn't touched. Its size is known where an earlier
// claim had to put it back, or guessed from the list's average. A wrong guess costs no more than a claim or a few: a
// list that begins always gives one.
//
// What people do with dead letters takes a few letters in each step, since Redis does nothing else meanwhile. Where to
// go on and what to take is decided outside, from the small fields; the envelopes, which may be large, stay in Redis. A
// letter is named by its entry in the stream, which no other ever gets: between looking and acting somebody else may
// have taken it, and then it is gone, never another one in its place.

internal import Hiredis
internal import RedisClient

enum QueueScripts {
  static let all = [
    ClaimScript.script, SettleScript.script, ExtendScript.script, ReapScript.script, LeaveScript.script,
    StateScript.script, LevelScript.script, SurveyScript.script, DeadLetterBytesScript.script,
    DeadLetterPageScript.script, DeadLetterPartScript.script, RequeueScript.script, DiscardScript.script,
  ]
}

/// The word that a reply about a claim begins with.
enum ClaimAnswer: String, CaseIterable {
  // Of a try to claim.
  case claimed, held, supplanted, empty
  // Of what is done with a claim.
  case extended, settled, lost, gone

  /// - Parameter expected: What the script answers, for the message where it is something else.
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
