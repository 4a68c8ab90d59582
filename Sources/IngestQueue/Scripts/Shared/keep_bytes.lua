-- include read_bytes.lua

-- Adds to the counts and corrects them. `lists` has the lists that aren't empty, by field: each with its key, its
-- length, the bytes to add, and the size of the next envelope if known.
local function keep_bytes(key, lists)
  local counts, mistyped = read_bytes(key)
  if mistyped then redis.call('UNLINK', key) end
  local changes, ended, all_known = {}, {}, true
  for field, list in pairs(lists) do
    local before = counts[field] or 0
    local count = before + list.added
    if not counts.kept or count < list.length then
      local size = redis.pcall('MEMORY', 'USAGE', list.key, 'SAMPLES', 1000)
      if type(size) ~= 'number' then all_known, size = false, math.max(count, 0) end
      count = size
    end
    if count ~= before then
      changes[#changes + 1] = field
      changes[#changes + 1] = string.format('%.0f', count)
    end
    if list.next_size then
      local name = 'next:' .. field
      if counts[name] ~= list.next_size then
        changes[#changes + 1] = name
        changes[#changes + 1] = string.format('%.0f', list.next_size)
      end
      counts[name] = nil
    end
  end
  for field in pairs(counts) do
    if field ~= 'kept' and not lists[field] then ended[#ended + 1] = field end
  end
  if not counts.kept and all_known then
    changes[#changes + 1] = 'kept'
    changes[#changes + 1] = '1'
  end
  if #ended > 0 then redis.pcall('HDEL', key, unpack(ended, 1, math.min(#ended, 100))) end
  if #changes > 0 then redis.pcall('HSET', key, unpack(changes)) end
end
