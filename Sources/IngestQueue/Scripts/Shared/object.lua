-- A JSON object as a table, or nil.
local function object(text)
  local good, value = pcall(cjson.decode, text)
  if good and type(value) == 'table' then return value end
end
