// How many bytes wait in a shard, counted list by list.
//
// Redis only estimates the size of a list, from the elements at its head. A producer that pushed large payloads and
// then small ones evaded a limit based on the estimate, and one large payload among small ones shut the shard for all
// accounts. So the bytes are counted: a hash has a field for each pending list, named by its number, and one named
// `later`. Producers add what they pushed (PushedBytes.swift); the scripts that move envelopes change the counts in the
// same step (add_bytes.lua, keep_bytes.lua).
//
// A count can differ from its list: a node ends before it has added its bytes, a push has an unknown outcome, an
// operator deletes a list by hand, or Redis fails over. The count is corrected, and does little harm until then:
// - An empty list has no bytes, whatever its count says. A claim that finds or leaves a list empty removes its count.
// - A count that is too high shuts the shard early, so the list drains until it is empty.
// - A claim that finds fewer bytes than entries knows that the count is too low, and measures the list.
// - The field `kept` is set by the first claim that finds it missing, after it has measured all lists. If the field is
//   missing, the counts were deleted and are younger than the queue. Then Redis's estimate is used if it is larger.
//
// A push is counted within a second, and each event loop of each node has at most `PushedBytes.most` uncounted bytes.
// Envelopes that are claimed in that time are subtracted before they were added, so a count may be too high or too low
// by that much.
//
// Beside the counts, `next:` and a list's number is the size of that list's next envelope, if a claim found that it is
// large and moved it back. The script that takes the envelope from there removes the field. A field that is out of date
// costs at most a few claims, see QueueScripts.swift.
//
// Rejected: INCRBY in the write of each LPUSH, which doubles the number of commands if batches are small; MEMORY USAGE
// with SAMPLES 0, which takes Redis some 50 ms for a million entries; and one count for a shard, because a busy queue
// is seldom empty as a whole, but each of its lists often is.

enum QueueBytes {
  /// Approximate memory that Redis needs for each entry in addition to its bytes: lengths, links, and free space in the
  /// blocks of a list.
  static let perEntry = 16
}
