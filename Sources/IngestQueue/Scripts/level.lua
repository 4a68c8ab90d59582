#!lua flags=no-writes
-- Reads how full a shard is.
--
-- KEYS  the pending lists with list 0 first, later, stats, dead, bytes of dead letters, bytes, the accounts' bytes in
--       later.
-- ARGV  1 if pushed bytes may be missing from the counts (then Redis's estimate is used if it is larger), extra bytes
--       to count for each entry, the largest number to return, maximum accounts.
-- Reply an array of 7: the lengths of the pending lists; the length of later; the bytes in the pending lists and later;
--       done; accounts and `all`, each followed by its bytes of dead letters; the bytes of each pending list; accounts,
--       each followed by its bytes in later.

-- include read_dead_bytes.lua
-- include read_bytes.lua

local later_bytes = table.remove(KEYS)
local later_key, stats, dead, dead_bytes = KEYS[#KEYS - 4], KEYS[#KEYS - 3], KEYS[#KEYS - 2], KEYS[#KEYS - 1]
local counts = read_bytes(KEYS[#KEYS])
local estimates = not counts.kept or ARGV[1] == '1'
local per_entry, most_counted, most_accounts = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lengths, bytes, list_bytes = {}, 0, {}
local function add(key, field, length)
  if length == 0 then return 0 end
  local count = math.max(counts[field] or 0, 0)
  if estimates then count = math.max(count, redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 20)) end
  count = count + length * per_entry
  bytes = bytes + count
  return math.min(count, most_counted)
end
for i = 1, #KEYS - 5 do
  lengths[i] = redis.call('LLEN', KEYS[i])
  list_bytes[i] = add(KEYS[i], tostring(i - 1), lengths[i])
end
local later = redis.call('ZCARD', later_key)
add(later_key, 'later', later)
bytes = math.min(bytes, most_counted)
local accounts = read_dead_bytes(dead, dead_bytes, most_accounts)
-- If `later` was deleted by hand, these counts are no longer valid.
local retries = later > 0 and redis.call('ZRANGE', later_bytes, 0, most_accounts - 1, 'REV', 'WITHSCORES') or {}
return { lengths, later, bytes, tonumber(redis.call('HGET', stats, 'done')) or 0, accounts, list_bytes, retries }
