#!lua flags=allow-oom
-- The same as change.lua, for suspending and revoking, which must work on a full Redis.

-- include write_changes.lua
