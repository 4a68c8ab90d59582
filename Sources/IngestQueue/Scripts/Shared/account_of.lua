-- include object.lua

-- The account of an envelope, or nil if the envelope's line doesn't name one.
local function account_of(envelope)
  local line_end = string.find(string.sub(envelope, 1, 65536), '\n', 1, true)
  local known = line_end and object(string.sub(envelope, 1, line_end - 1))
  return known and type(known.account) == 'string' and known.account or nil
end
