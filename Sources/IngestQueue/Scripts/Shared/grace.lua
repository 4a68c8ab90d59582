-- After a step no lease ends for this time. Live workers extend theirs every third of a lease, or every 10 s.
local function grace(lease) return math.min(lease / 2, 15000) end
