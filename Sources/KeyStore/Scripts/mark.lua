#!lua flags=allow-oom
-- Writes the source mark: the moment before which every commit in the source is in the store, and the version at which
-- the store is equal to the source. That isn't a change of the store's content, so its version stays. Works on a full
-- Redis.
--
-- No mark is written unless the store has exactly the epoch, version and digest that the follower made equal to the
-- source. Otherwise the store was rebuilt, restored from an older copy, or changed by another program. The digest is
-- needed if a copy was restored and then changed: it may have reached the same version with another content.
--
-- KEYS  meta, changes, the lease.
-- ARGV  schema, number of buckets, the beginning of the follower's lease, the epoch, the version, the moment in
--       microseconds since 1970, the digest.
-- Reply 1 if the mark was written, otherwise 0; then epoch, version and digest.

local lease = ARGV[3]
local held = redis.call('GET', KEYS[3]) or ''
KEYS[3] = nil
if string.sub(held, 1, #lease) ~= lease then
  return redis.error_reply('STORELEASE the lease of this follower ended, and another one may follow the source now; '
    .. 'trying again')
end

-- include hex.lua
-- include number.lua
-- include meta.lua

if epoch ~= ARGV[4] or version ~= tonumber(ARGV[5]) or hex(total) ~= ARGV[7] then
  return {0, epoch, number(version), hex(total)}
end
-- A moment in the future: Redis's clock was set back after the follower read it. The follower's next mark has a valid
-- moment.
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] < tonumber(ARGV[6]) then return {0, epoch, number(version), hex(total)} end
redis.call('HSET', KEYS[1], 'source_mark', ARGV[6], 'source_version', number(version))
return {1, epoch, number(version), hex(total)}
