-- Bytes of large envelopes that one run of a script moves, unless it is one envelope: Redis answers nobody meanwhile.
local most_large_bytes = 8 * 1024 * 1024
