import { redisScript } from '../../../redis'
import { heldFault, relations } from './held'
import { moves, shared, whenFull } from './shared'

/**
 * The check of one queue, in steps of some milliseconds. Each step is atomic, so what a queue at work looks like between two calls is
 * never taken for damage. All take ARGV[1]: 1 to mend; and return findings as pairs of what and id.
 */
export const checking = `${whenFull}${shared}${moves}${relations}
local fixes, findings = ARGV[1] == '1', {}
local function found(what, id)
  findings[#findings + 1] = what
  findings[#findings + 1] = id
  return fixes
end
local function exists(id) return call('EXISTS', B .. 'e:' .. id) == 1 end
-- @returns whether the nth of these is in a set
local function places_of(ids, first, last)
  local all = {}
  for i, set in ipairs({ ACT, SCH, DEAD, DONE, HLD }) do all[i] = call('ZMSCORE', set, unpack(ids, first, last)) end
  return function(n)
    for _, scores in ipairs(all) do
      if scores[n] then return true end
    end
    return false
  end
end
local function is_aside(lane, priority)
  local digits = string.match(call('HGET', BLK, lane) or '', '%d*$')
  return string.find(digits, priority, 1, true)
end
local blanks = 0
-- What is to go is blanked first, and removed in one go. @param from offset of the first of them from the left
local function check_line(line, ids, from)
  local seen = {}
  local function blank(i)
    call('LSET', line, from + i - 1, '')
    blanks = blanks + 1
  end
  for first = 1, #ids, 200 do
    local last, keys = math.min(first + 199, #ids), {}
    for i = first, last do keys[i - first + 1] = B .. 'e:' .. ids[i] end
    local are_all_there = call('EXISTS', unpack(keys)) == #keys
    local scores = places_of(ids, first, last)
    for i = first, last do
      local id, at = ids[i], i - first + 1
      if id ~= '' then
        if not are_all_there and not exists(id) then
          if found('void', id) then blank(i) end
        elseif seen[id] or scores(at) then
          if found('twice', id) then blank(i) end
        end
        seen[id] = true
      end
    end
  end
end
-- @param lane if any. One that is empty by that is forgotten when its turn comes
local function leave_blanks(line, lane)
  local count = call('LREM', line, 0, '')
  blanks = 0
  if not lane then return end
  if count > 0 then call('HINCRBY', META, 'laned', -count) end
end
`

/** ARGV: fix, `act`, `sch`, `dead`, `done`, `hld` or `own`, where to go on. Returns where to go on, `0` at the end, and findings. */
export const checkSetScript = redisScript(`${checking}${heldFault}
local name = ARGV[2]
local set = B .. name
local page = call(name == 'own' and 'HSCAN' or 'ZSCAN', set, ARGV[3], 'COUNT', 200)
local function drop(id)
  if name ~= 'own' then call('ZREM', set, id) end
end
local function drop_elsewhere(id, other)
  if call('ZSCORE', other, id) and found('twice', id) then call('ZREM', other, id) end
end
for i = 1, #page[2], 2 do
  local id = page[2][i]
  if not exists(id) then
    if found('void', id) then
      drop(id)
      call('UNLINK', traces(id))
      if name == 'act' or name == 'own' then leave(id, owned_lane(name == 'own' and page[2][i + 1] or call('HGET', OWN, id))) end
    end
  elseif name == 'act' then
    local held = string.match(call('HGET', OWN, id) or '', '^%S+')
    local h = call('HMGET', B .. 's:' .. id, 'z', 'r', 'l', 'y')
    if not held or held == h[3] or held == h[4] then
      if found('unowned', id) then
        settle(id, head_of(id), h[1], h[2])
        leave(id, owned_lane(call('HGET', OWN, id)))
      end
    else
      drop_elsewhere(id, SCH)
      drop_elsewhere(id, DEAD)
      drop_elsewhere(id, DONE)
    end
  elseif name == 'dead' or name == 'done' then
    drop_elsewhere(id, SCH)
    if name == 'dead' then drop_elsewhere(id, DONE) end
  elseif name == 'hld' then
    local fault, mend = held_fault(id)
    if fault and found(fault, id) then mend() end
  end
end
flush()
if is_waiting then wake() end
tell_next()
return { page[1], findings }
`)

/**
 * ARGV: fix, line, as `p5` or `l5:<lane>`, offset from the left, 1 when something was blanked before. Returns the next offset, -1 at the end, whether
 * something was blanked, and findings.
 */
export const checkLineScript = redisScript(`${checking}
local line, from = B .. ARGV[2], tonumber(ARGV[3])
local ids = call('LRANGE', line, from, from + 999)
check_line(line, ids, from)
local is_blanked = blanks > 0 or ARGV[4] == '1'
if #ids == 1000 then return { from + 1000, is_blanked and 1 or 0, findings } end
if is_blanked then leave_blanks(line, string.match(ARGV[2], '^l%d:(.*)$')) end
return { -1, 0, findings }
`)

/** The whole queue was checked, and mended. */
export const checkedScript = redisScript(`${checking}
call('HDEL', META, 'checkAfter')
`)

/** How long the ids that are being searched are kept when nobody goes on. */
export const searchMs = 600_000

/**
 * ARGV: fix, where to go on in all keys of the server, the name of the search. Envelopes that no set has are gathered under that name.
 * Returns where to go on, `0` at the end, how many are gathered, and findings.
 */
export const checkKeysScript = redisScript(`${checking}
local search = B .. 'f:' .. ARGV[3]
local page = call('SCAN', ARGV[2], 'MATCH', B .. '*', 'COUNT', 1000)
local ids = {}
for _, key in ipairs(page[2]) do
  local kind, id = string.match(sub(key, #B + 1), '^(%l):(.*)$')
  local priority, lane = string.match(sub(key, #B + 1), '^l(%d):(.*)$')
  if lane then
    local is_known = call('ZSCORE', LNS, priority .. lane)
    if not is_known and found('turnless', lane) then
      call('ZADD', LNS, 0, priority .. lane)
      if not (is_aside(lane, priority) or call('LPOS', turns_of(priority), lane)) then call('LPUSH', turns_of(priority), lane) end
      is_waiting = true
    end
    -- It was not among the lanes whose names were looked at.
    if not is_known and call('LLEN', key) <= 1000 then
      check_line(key, call('LRANGE', key, 0, -1), 0)
      if blanks > 0 then leave_blanks(key, lane) end
    end
  elseif kind == 'e' then
    ids[#ids + 1] = id
  elseif (kind == 's' or kind == 'x' or kind == 'r' or kind == 'v') and not exists(id) then
    if found('leftover', id) then call('UNLINK', key) end
  elseif kind == 'b' and not exists(id) and call('PTTL', key) == -1 then
    if found('leftover', id) then call('UNLINK', key) end
  elseif kind == 'u' then
    local holder = call('GET', key)
    local is_void = holder and (not exists(holder) or call('ZSCORE', DEAD, holder) or call('ZSCORE', DONE, holder))
    if is_void and found('unique', holder) then call('DEL', key) end
  elseif kind == 'g' then
    -- Of a group that has started it is there for a while.
    if call('PTTL', key) == -1 and found('group', id) then call('DEL', key) end
  end
end
for first = 1, #ids, 200 do
  local last, missing = math.min(first + 199, #ids), {}
  local scores = places_of(ids, first, last)
  for i = 1, last - first + 1 do
    if not scores(i) then missing[#missing + 1] = ids[first + i - 1] end
  end
  if #missing > 0 then call('SADD', search, unpack(missing)) end
end
call('PEXPIRE', search, ${searchMs})
if is_waiting then wake() end
return { page[1], call('SCARD', search), findings }
`)

/**
 * ARGV: fix, the name of the search, priority, offset from the left. What is in the line is searched no longer. Returns the next
 * offset, -1 at the end, and how many are still searched.
 */
export const searchLineScript = redisScript(`${checking}
local search, line, from = B .. 'f:' .. ARGV[2], B .. 'p' .. ARGV[3], tonumber(ARGV[4])
local ids = call('LRANGE', line, from, from + 4999)
many(ids, function(...) call('SREM', search, ...) end, 200)
call('PEXPIRE', search, ${searchMs})
return { #ids == 5000 and from + 5000 or -1, call('SCARD', search) }
`)

/** So much of a line is searched for single ids in one step. */
const stepSearchedMax = 100_000

/** ARGV: fix, the name of the search, lease in ms. What no line had is an orphan, if it still has no place. Returns how many are left, and findings. */
export const mendOrphansScript = redisScript(`${checking}${heldFault}
local search, searched = B .. 'f:' .. ARGV[2], 0
for _, id in ipairs(call('SRANDMEMBER', search, 20)) do
  if searched > ${stepSearchedMax} then break end
  call('SREM', search, id)
  local head = head_of(id)
  local has_place = head == '' or places_of({ id }, 1, 1)(1)
  if not has_place then
    local priority, lane = sub(head, 1, 1), lane_of(marks_of(head))
    local line = lane and line_of(lane, priority) or B .. 'p' .. priority
    searched = searched + call('LLEN', line)
    if not call('LPOS', line, id) and found('orphan', id) then
      local held = string.match(call('HGET', OWN, id) or '', '^%S+')
      local h = call('HMGET', B .. 's:' .. id, 'z', 'r', 'l', 'y')
      -- Its owner may well be there; if not, the lease ends.
      if is_unreleased(id) then call('ZADD', HLD, now, id)
      elseif held and held ~= h[3] and held ~= h[4] then call('ZADD', ACT, now + ARGV[3], id)
      else settle(id, head, h[1], h[2]) end
    end
  end
end
flush()
if is_waiting then wake() end
tell_next()
return { call('SCARD', search), findings }
`)
