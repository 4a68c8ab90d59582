-- The element of the queue in an entry. For an entry that was written by hand: all its fields.
local function element_of(entry, fields)
  return fields.envelope or table.concat(entry[2], '\n')
end
