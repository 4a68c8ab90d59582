-- An envelope of more bytes than this is large.
local large_envelope = 1024 * 1024
