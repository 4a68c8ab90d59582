#!lua flags=allow-oom
-- Removes one member.
--
-- KEYS  members, marks, seen, register, turned away.
-- ARGV  field.
-- Reply how many fields it removed.

redis.call('ZREM', KEYS[3], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1]) + redis.call('HDEL', KEYS[2], ARGV[1])
