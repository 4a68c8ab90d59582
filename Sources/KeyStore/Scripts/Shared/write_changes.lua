-- Makes the permitted ones of many changes: the whole of change.lua and end.lua.
--
-- The decision whether a change may be made is only here, in the step that makes it. So a change that is sent twice, or
-- late, or by two publishers at once is checked against the current record.
--
-- KEYS  meta, changes, the affected buckets, and the lease if the changes are a list's.
-- ARGV  schema, number of buckets, now in seconds, changes to keep, the version that the changes are based on (empty:
--       none), the beginning of the list's lease (empty: no list), then eight for each change: the operation, the index
--       of its bucket among KEYS, the bucket's number, the ID, the state's letter (empty: the present state, or active
--       for a new key), the account (empty for `s`: any), the source's revision (empty: none), the key's expiry in
--       seconds since 1970 (empty: the present end, or none for a new key; `-`: no end). An operation is `p` (put), `s`
--       (change only the state) or `k` (check that the key has this state and account, and change nothing), followed by
--       its permissions: `e` (this removal is agreed), `m` (move the key to another account), `r` (change a revoked
--       key), `o` (a record without a version is older than the version that the changes are based on); and by `d` if
--       it may be done only if everything before it in this call was done.
-- Reply epoch, version, two letters per change (the result, see EditResult.Kind, and the key's state now, `-` if it has
--       none), and the store's digest.

-- Checked in the step that writes: a publisher that was paused must not continue with its list after another list has
-- begun.
local lease = ARGV[6]
if lease ~= '' then
  local held = redis.call('GET', KEYS[#KEYS]) or ''
  KEYS[#KEYS] = nil
  if string.sub(held, 1, #lease) ~= lease then
    return redis.error_reply('STORELEASE the lease of this list ended, and another list may have been applied since. '
      .. 'Part of this list may be applied; run the command again')
  end
end

-- include fold.lua
-- include touched.lua
-- include number.lua
-- include hex.lua
-- include meta.lua

local now, keep, basis = ARGV[3], ARGV[4], tonumber(ARGV[5])
local find, match, byte = string.find, string.match, string.byte
local readable = '^' .. schema .. ' ([asr]) (%d+)/?(%d*)/?(%d*) (.+)$'
-- A record with an expiry.
local ending = '^2 ([asr]) (%d+)/?(%d*)/?(%d*) (%d+) (.+)$'
local isDone = true
for a = 7, #ARGV, 8 do
  local op, at, id, state, account, revision, expiry =
    ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7]
  local isPut, isCheck, key, summary = byte(op) == 112, byte(op) == 107, KEYS[at], summaries[at]
  local old = redis.call('HGET', key, id)
  local oldState, since, changedAt, oldRevision, oldAccount, oldExpiry
  if old then
    oldState, since, changedAt, oldRevision, oldAccount = match(old, readable)
    if not oldState then oldState, since, changedAt, oldRevision, oldExpiry, oldAccount = match(old, ending) end
  end
  -- An unreadable record may be a revoked key's. Unlike a missing record, it isn't replaced by any change.
  local isDamaged = old and not oldState
  oldExpiry = oldExpiry or '-'
  if expiry == '' then expiry = oldExpiry end
  if state == '' then state = oldState or 'a' end
  if not isPut and not isCheck and (account == '' or not old) then account = oldAccount end
  local sameHolder = oldState == state and oldAccount == account
  local same = sameHolder and oldExpiry == expiry
  local isNewer = revision ~= '' and (not oldState or oldRevision == '' or tonumber(revision) > tonumber(oldRevision))
  local outcome
  if find(op, 'd', 2, true) and not isDone then
    outcome = 'x'
  elseif isDamaged then
    outcome = 'd'
  elseif isCheck then
    outcome = sameHolder and 'u' or 'x'
  elseif not account then
    outcome = 'm'
  elseif same and not isNewer then
    outcome = 'u'
  elseif oldState then
    if revision ~= '' and not isNewer and tonumber(revision) < tonumber(oldRevision) then
      outcome = 'o'
    elseif basis and (tonumber(changedAt) or find(op, 'o', 2, true) and 0 or summary.changedAt) > basis then
      outcome = 'v'
    elseif oldState == 'r' and not same and not find(op, 'r', 2, true) then
      outcome = 'r'
    elseif oldAccount ~= account and not find(op, 'm', 2, true) then
      outcome = 'a'
    elseif isPut and oldState == 'a' and state ~= 'a' and not find(op, 'e', 2, true) then
      outcome = 'e'
    end
  end
  if not outcome then
    outcome = 'c'
    version = version + 1
    local numbers = number(version)
    local entry = numbers .. '-0'
    if isNewer then
      numbers = numbers .. '/' .. revision
    elseif oldState and oldRevision ~= '' then
      numbers = numbers .. '/' .. oldRevision
    end
    local record = state .. ' ' .. (sameHolder and since or now) .. '/' .. numbers .. ' '
    if expiry == '-' then
      record = schema .. ' ' .. record .. account
    else
      record = '2 ' .. record .. expiry .. ' ' .. account
    end
    if old then
      fold(id, old, summary.digest, total)
    else
      summary.count = summary.count + 1
      count = count + 1
    end
    fold(id, record, summary.digest, total)
    summary.version = version
    local effect = 'put'
    if oldState == 'a' and state ~= 'a' and find(op, 'e', 2, true) then
      effect = 'end'
      agreed = agreed + 1
    end
    -- First, because only this command can fail: for example, if an entry with a later ID was added to the stream by
    -- hand.
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', keep, entry, 'epoch', epoch, 'op', effect, 'id', id, 'record', record,
      'bucket', ARGV[a + 2], 'count', number(summary.count), 'digest', hex(summary.digest), 'total', hex(total))
    redis.call('HSET', key, id, record)
    -- Once a record has an expiry, builds without key expiry must not read or write this store.
    if expiry ~= '-' and meta[1] ~= '2' then
      redis.call('HSET', KEYS[1], 'schema', '2')
      meta[1] = '2'
    end
    oldState = state
  end
  if outcome ~= 'c' and outcome ~= 'u' then isDone = false end
  outcomes[#outcomes + 1] = outcome .. (oldState or '-')
end
return finish()
