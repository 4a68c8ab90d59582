#!lua flags=no-writes
-- Reads the accounts with the most bytes of dead letters.
--
-- KEYS  dead, bytes of dead letters.
-- ARGV  maximum accounts.
-- Reply members, each followed by its score, the largest first.

-- include read_dead_bytes.lua

return read_dead_bytes(KEYS[1], KEYS[2], tonumber(ARGV[1]))
