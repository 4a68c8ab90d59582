-- The hexadecimal digits of a digest.
local function hex(d)
  return bit.tohex(d[1]) .. bit.tohex(d[2]) .. bit.tohex(d[3]) .. bit.tohex(d[4])
end
