#!lua
-- Adds and changes keys; refused by a full Redis.

-- include write_changes.lua
