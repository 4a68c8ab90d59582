-- What was in the queue; of an entry by another hand, all that it has.
local function element_of(entry, fields)
  return fields.envelope or table.concat(entry[2], '\n')
end
