-- An integer as text. Lua writes large ones with an exponent.
local function number(n) return string.format('%.0f', n) end
