// How many bytes wait in a shard, counted list by list.
//
// Redis only estimates the size of a list, from the elements at its head. A producer that pushed large payloads and
// then small ones evaded a limit based on the estimate, and one large payload among small ones shut the gate for
// everybody. So the bytes are counted: a hash has a field for each pending list, named by its number, and one named
// `later`. Producers add what they pushed (PushedBytes.swift); the scripts that move envelopes change the counts in the
// same step (add_bytes.lua, keep_bytes.lua).
//
// A count can differ from its list: a node ends before it has added its bytes, a push has an unknown outcome, somebody
// deletes a list by hand, or Redis fails over. It is corrected, and does little harm until then:
// - An empty list has no bytes, whatever its count says. A claim that finds or leaves a list empty removes its count.
// - A count that is too high shuts the gate early, so the list drains until it is empty.
// - A claim that finds a count too low, fewer bytes than entries, measures the list.
// - `kept` is set by the first claim that finds it missing, once it has measured all lists. Without it the counts are
//   younger than the queue: somebody deleted them. Then Redis's estimate is used if it is larger.
//
// Between a push and its count there are at most `PushedBytes.most` bytes for each event loop of each node, or a
// second. Envelopes that are claimed in that time are subtracted before they were added, so a count may be too high or
// too low by that much.
//
// Beside the counts, `next:` and a list's number is the size of that list's next envelope, if a claim found that it is
// large and moved it back. The script that takes the envelope from there removes the field. If the field is out of
// date, it costs a claim or a few, see QueueScripts.swift.
//
// Rejected: INCRBY in the write of each LPUSH, which doubles the number of commands if batches are small; MEMORY USAGE
// with SAMPLES 0, which takes Redis some 50 ms for a million entries; and one count for a shard, because a busy queue
// is seldom empty as a whole, but each of its lists often is.

enum QueueBytes {
  /// About how much memory Redis needs for each entry beside its bytes: lengths, links, and free room in the blocks of
  /// a list.
  static let perEntry = 16
}
