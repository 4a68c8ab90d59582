-- For this time after a step no lease ends. Live workers extend theirs every third of a lease, or 10 s.
local function grace(lease) return math.min(lease / 2, 15000) end
