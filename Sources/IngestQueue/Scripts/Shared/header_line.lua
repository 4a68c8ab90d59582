-- The first element of a claim: its owner, and the end and the length of its lease. If TIME goes back and the lease
-- would last longer, it is cut to that length.
local function header_line(worker, instance, batch, lease_until, claimed_at, count, lease)
  return string.format(
    '{"worker":"%s","instance":"%s","batch":%.0f,"lease_until":%.0f,"claimed_at":%.0f,"count":%.0f,"lease":%.0f}',
    worker, instance, batch, lease_until, claimed_at, count, lease)
end
