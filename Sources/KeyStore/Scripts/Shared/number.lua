-- An integer as text. Lua's own conversion writes large integers with an exponent.
local function number(n) return string.format('%.0f', n) end
