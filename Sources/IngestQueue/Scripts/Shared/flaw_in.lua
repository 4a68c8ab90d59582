-- Why an entry isn't a dead letter; nil if it is one.
local function flaw_in(fields)
  for _, name in ipairs({ 'id', 'reason', 'attempts', 'deaths', 'first_at', 'died_at', 'worker', 'envelope' }) do
    if not fields[name] then return 'the field ' .. name .. " isn't there" end
  end
  for _, name in ipairs({ 'attempts', 'deaths', 'first_at', 'died_at' }) do
    if #fields[name] > 18 or not string.match(fields[name], '^%d+$') then
      return 'the field ' .. name .. " isn't a number"
    end
  end
  if #fields.id > 64 or not string.match(fields.id, '^[%w-]+$') then return "the field id isn't an id" end
end
