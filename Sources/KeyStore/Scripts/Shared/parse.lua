-- A digest from 32 hexadecimal digits. It is stored as four numbers, because Lua's bit operations have 32 bits.
local function parse(hex)
  return {tonumber(string.sub(hex, 1, 8), 16), tonumber(string.sub(hex, 9, 16), 16),
          tonumber(string.sub(hex, 17, 24), 16), tonumber(string.sub(hex, 25, 32), 16)}
end
