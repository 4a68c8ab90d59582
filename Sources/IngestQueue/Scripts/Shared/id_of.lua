-- The ID of an element. If it isn't an envelope: its hash.
local function id_of(envelope)
  if string.sub(envelope, 1, 7) == '{"id":"' and string.sub(envelope, 44, 44) == '"' then
    return string.sub(envelope, 8, 43)
  end
  return redis.sha1hex(envelope)
end
