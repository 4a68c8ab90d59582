#!lua flags=allow-oom
-- Tells all replicas that all removals up to this version are intended. Works on a full Redis, as removals do.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, changes to keep.
-- Reply the version.

-- include hex.lua
-- include number.lua
-- include meta.lua
-- include write_meta.lua

version = version + 1
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], number(version) .. '-0', 'epoch', epoch, 'op', 'confirm',
  'total', hex(total))
writeMeta()
redis.call('HSET', KEYS[1], 'confirmed', number(version))
return number(version)
