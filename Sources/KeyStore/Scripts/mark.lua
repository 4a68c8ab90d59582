#!lua flags=allow-oom
-- Says as of when everything that was committed in the source is in the store. That is no change of the store's
-- content, so its version stays. Works on a full Redis.
--
-- Nothing is written where the store isn't exactly the one that the follower made equal to the source: if it has another
-- epoch, went back to an earlier version, or was changed by somebody else.
--
-- KEYS  meta, changes, the lease.
-- ARGV  schema, number of buckets, the beginning of the follower's lease, the epoch, the version, the moment in
--       microseconds since 1970.
-- Reply 1 if it was written, else 0; epoch and version.

local lease = ARGV[3]
local held = redis.call('GET', KEYS[3]) or ''
KEYS[3] = nil
if string.sub(held, 1, #lease) ~= lease then
  return redis.error_reply('STORELEASE the lease of this follower ended, and another one may follow the source now')
end

-- include number.lua
-- include meta.lua

if epoch ~= ARGV[4] or version ~= tonumber(ARGV[5]) then return {0, epoch, number(version)} end
-- A clock that was set back: the next moment is right again.
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] < tonumber(ARGV[6]) then return {0, epoch, number(version)} end
redis.call('HSET', KEYS[1], 'source_mark', ARGV[6])
return {1, epoch, number(version)}
