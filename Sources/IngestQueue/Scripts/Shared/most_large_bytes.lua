-- Maximum bytes of large envelopes that one run of a script moves; a single one may be larger. Redis answers no other
-- command during the run.
local most_large_bytes = 8 * 1024 * 1024
