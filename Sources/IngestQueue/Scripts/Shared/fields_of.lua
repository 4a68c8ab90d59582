-- The fields of a dead letter by name, and their total size in bytes.
local function fields_of(entry)
  local fields, bytes = {}, 0
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
    bytes = bytes + #entry[2][i] + #entry[2][i + 1]
  end
  return fields, bytes
end
