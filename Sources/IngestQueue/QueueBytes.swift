// How many bytes wait in a shard, counted list by list.
//
// Redis only estimates the size of a list, from the elements at its head. Whoever pushed large payloads and then small
// ones got round a limit that goes by the estimate, and one large payload among small ones shut the gate for everybody.
// So the bytes are counted: a hash has a field for each pending list, named by its number, and one named `later`.
// Producers add what they pushed (PushedBytes.swift); the scripts that move envelopes change the counts in the same
// step.
//
// A count can come to differ from its list: a node ends before it has told what it pushed, a push has an unknown
// outcome, somebody deletes a list by hand, or Redis fails over. It is put right, and does little harm until then:
// - An empty list has no bytes, whatever its count says. A claim that finds or leaves a list empty removes its count.
// - A count that is too high shuts the gate early, so the list drains until it is empty.
// - A claim that finds a count too low, fewer bytes than entries, measures the list.
// - `kept` is set by the first claim that finds it missing, once it has measured all lists. Without it the counts are
//   younger than the queue: somebody deleted them. Then Redis's estimate counts wherever it is larger.
//
// Between a push and its count lie at most `PushedBytes.most` for each event loop of each node, or a second. Envelopes
// that are claimed in that time are taken off before they were added, so a count may be too high or too low by that
// much.
//
// Beside the counts, `next:` and a list's number is the size of that list's next envelope, where a claim found that it
// is large and put it back. What takes it from there removes it; where it isn't true any more it costs a claim or a
// few, see QueueScripts.swift.
//
// Rejected: INCRBY in the write of each LPUSH, which is as many commands again where batches are small; MEMORY USAGE
// with SAMPLES 0, which takes Redis some 50 ms for a million entries; and one count for a shard, since a busy queue is
// seldom empty as a whole, but each of its lists often is.

enum QueueBytes {
  /// What Redis takes for each entry beside its bytes, about: lengths, links, and what is left free in the blocks of a
  /// list.
  static let perEntry = 16

  /// A function for scripts that only read: the counts as they are stored, by field; false where it is no number. Of a
  /// key of another type, none, and Redis's error.
  static let reading = #"""
    local function read_bytes(key)
      local items, counts = redis.pcall('HGETALL', key), {}
      for i = 1, #items, 2 do
        counts[items[i]] = string.match(items[i + 1], '^%-?%d+$') and tonumber(items[i + 1]) or false
      end
      return counts, items.err
    end

    """#

  /// Functions for scripts that move envelopes. Whatever comes of counting, it isn't in the way of what is counted.
  static let functions =
    reading + #"""
      local function add_bytes(key, field, bytes)
        if bytes ~= 0 then redis.pcall('HINCRBY', key, field, bytes) end
      end

      -- Adds to the counts and puts them right. `lists` has, by field, the lists that aren't empty: their keys, their
      -- lengths, what to add, and the size of the next envelope where it is known.
      local function keep_bytes(key, lists)
        local counts, mistyped = read_bytes(key)
        if mistyped then redis.call('UNLINK', key) end
        local changes, ended, all_known = {}, {}, true
        for field, list in pairs(lists) do
          local before = counts[field] or 0
          local count = before + list.added
          if not counts.kept or count < list.length then
            local size = redis.pcall('MEMORY', 'USAGE', list.key, 'SAMPLES', 1000)
            if type(size) ~= 'number' then all_known, size = false, math.max(count, 0) end
            count = size
          end
          if count ~= before then
            changes[#changes + 1] = field
            changes[#changes + 1] = string.format('%.0f', count)
          end
          if list.next_size then
            local name = 'next:' .. field
            if counts[name] ~= list.next_size then
              changes[#changes + 1] = name
              changes[#changes + 1] = string.format('%.0f', list.next_size)
            end
            counts[name] = nil
          end
        end
        for field in pairs(counts) do
          if field ~= 'kept' and not lists[field] then ended[#ended + 1] = field end
        end
        if not counts.kept and all_known then
          changes[#changes + 1] = 'kept'
          changes[#changes + 1] = '1'
        end
        if #ended > 0 then redis.pcall('HDEL', key, unpack(ended, 1, math.min(#ended, 100))) end
        if #changes > 0 then redis.pcall('HSET', key, unpack(changes)) end
      end

      """#
}
