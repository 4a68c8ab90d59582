#!lua flags=no-writes
-- Reads details for operators beside the state.
--
-- KEYS  later, stats, then the pending lists with list 0 first.
-- Reply when the next envelope is due by the clock of later, or false; how many dead letters were requeued and
--       discarded; for each list when its next envelope was received, or -1; the clock of later, as in clock.lua.

local function received_at(envelope)
  local line = envelope and string.match(string.sub(envelope, 1, 65536), '^[^\n]*')
  local good, header = pcall(cjson.decode, line or '')
  return good and type(header) == 'table' and tonumber(header.received_at) or -1
end

local stats = redis.call('HMGET', KEYS[2], 'requeued', 'discarded', 'clock')
local oldest = {}
for i = 3, #KEYS do oldest[#oldest + 1] = received_at(redis.call('LINDEX', KEYS[i], -1)) end
return { redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or false, stats[1], stats[2], oldest, stats[3] }
