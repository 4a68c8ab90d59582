-- include fold.lua
-- include touched.lua
-- include number.lua
-- include hex.lua
-- include meta.lua

-- Writes many changes, as far as each of them may be made: all of change.lua and end.lua.
--
-- Whether a change may be made is decided here and nowhere else, in the step that makes it: a change that is sent
-- twice, or late, or by two publishers at once meets the record as it is then.
--
-- KEYS  meta, changes, and the buckets that are touched.
-- ARGV  schema, number of buckets, now in seconds, changes to keep, the version that the changes rest on (empty: none),
--       then seven for each change: the operation, the position of its bucket among KEYS, the bucket's number, the id,
--       the state's letter (empty: as it is, and active for a new key), the account (empty for `s`), the source's
--       revision (empty: none). An operation is `p` (put) or `s` (change only the state), and then what it may do: `e`
--       (this removal is agreed to), `m` (move the key to another account), `r` (change a revoked key).
-- Reply epoch, version, and two letters per change: what became of it (EditResult.Kind), and the key's state now, `-`
--       if it has none.
local now, keep, basis = ARGV[3], ARGV[4], tonumber(ARGV[5])
local find, match, byte = string.find, string.match, string.byte
local readable = '^' .. schema .. ' ([asr]) (%d+)/?(%d*)/?(%d*) (.+)$'
for a = 6, #ARGV, 7 do
  local op, at, id, state, account, revision =
    ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6]
  local isPut, key, summary = byte(op) == 112, KEYS[at], summaries[at]
  local old = redis.call('HGET', key, id)
  -- Of a record that can't be read nothing is known: it is written over, as if there were none.
  local oldState, since, changedAt, oldRevision, oldAccount
  if old then oldState, since, changedAt, oldRevision, oldAccount = match(old, readable) end
  if state == '' then state = oldState or 'a' end
  if not isPut then account = oldAccount end
  local same = oldState == state and oldAccount == account
  local isNewer = revision ~= '' and (not oldState or oldRevision == '' or tonumber(revision) > tonumber(oldRevision))
  local outcome
  if not account then
    outcome = 'm'
  elseif same and not isNewer then
    outcome = 'u'
  elseif oldState then
    if revision ~= '' and not isNewer and tonumber(revision) < tonumber(oldRevision) then
      outcome = 'o'
    elseif basis and (tonumber(changedAt) or summary.changedAt) > basis then
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
    local record = schema .. ' ' .. state .. ' ' .. (same and since or now) .. '/' .. numbers .. ' ' .. account
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
    -- First, because it alone can be refused: where somebody gave the stream a later id by hand.
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', keep, entry, 'epoch', epoch, 'op', effect, 'id', id, 'record', record,
      'bucket', ARGV[a + 2], 'count', number(summary.count), 'digest', hex(summary.digest), 'total', hex(total))
    redis.call('HSET', key, id, record)
    oldState = state
  end
  outcomes[#outcomes + 1] = outcome .. (oldState or '-')
end
return finish()
