-- What wrk sends to be refused: pushes of 1 KiB with WRK_KEY, or, without it, each with another key that nobody has. Both put each request
-- together anew, so that what wrk spends on it is the same; WRK_SEED makes the keys repeatable.
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.headers["Authorization"] = "Bearer @"

local key = os.getenv("WRK_KEY")
local before, after

function init(args)
  math.randomseed(tonumber(os.getenv("WRK_SEED")))
  before, after = wrk.format():match("^(.-Bearer )@(.*)$")
end

function request()
  local random = math.random
  -- As long as those that are handed out.
  local text = string.format(
    "sk_live_%08x%08x%08x%08x", random(0, 0x7fffffff), random(0, 0x7fffffff), random(0, 0x7fffffff), random(0, 0x7fffffff))
  return before .. (key or text) .. after
end
