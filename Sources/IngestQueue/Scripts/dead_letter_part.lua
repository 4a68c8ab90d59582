#!lua flags=no-writes
-- Reads a part of a dead letter's element.
--
-- KEYS  dead.
-- ARGV  entry, offset, maximum bytes.
-- Reply the bytes, or false if the dead letter is gone.

-- include fields_of.lua
-- include element_of.lua

local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then return false end
local element = element_of(entry, fields_of(entry))
return string.sub(element, tonumber(ARGV[2]) + 1, tonumber(ARGV[2]) + tonumber(ARGV[3]))
