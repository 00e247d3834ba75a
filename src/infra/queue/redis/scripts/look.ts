import { redisScript } from '../../../redis'
import { laneKeys } from './lanes'
import { lines, readOnly, shared, whenThereIsRoom } from './shared'

/** Everything of one task: id, state, its place in time, entry, owner, hash, errors, how far it is, result, and how many have ended that it waits for. */
const tell = `
local function tell(id, state, at, entry)
  local hash, errors, result, progress = traces(id)
  local fields = call('HGETALL', hash)
  return {
    id, state, at or '', entry or '', state == 'active' and call('HGET', OWN, id) or '', fields, call('LRANGE', errors, 0, -1),
    #fields > 0 and call('GET', progress) or '', state == 'done' and call('GET', result) or '', state == 'held' and call('HLEN', B .. 'b:' .. id) or 0,
  }
end
`

/** ARGV: id. Returns nothing when there is no such task. */
export const showScript = redisScript(`${readOnly}${shared}${tell}
local id = ARGV[1]
local entry = call('GET', B .. 'e:' .. id)
for state, set in pairs({ active = ACT, scheduled = SCH, dead = DEAD, done = DONE, held = HLD }) do
  local at = call('ZSCORE', set, id)
  -- One that is in two sets is being worked on.
  if at and (entry or state ~= 'held') and (state == 'active' or not call('ZSCORE', ACT, id)) then return tell(id, state, at, entry) end
end
return entry and tell(id, 'waiting', false, entry)
`)

/** So many bytes of envelopes and errors in one page; one at least. */
const pageBytesMax = 1024 * 1024

/** So many lanes one page looks for tasks in. */
const pageLanesMax = 1000

/**
 * ARGV: state, count, and where the page before ended: priority, offset, id and lane, or score and id; empty at the start. Returns tasks, and
 * the same of the last of them when there may be more. A page begins after the task with which the last one ended; when that
 * one is gone, in a line with the first, since those before it are gone too, and in a set with the first of its score.
 *
 * Of each priority those without a lane come first, then lane after lane by name, not as they take turns: that changes from one page to the next.
 */
export const listScript = redisScript(`${readOnly}${shared}${laneKeys}${tell}
local state, wanted, p, offset, last, last_lane = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6] or ''
local tasks, bytes = {}, 0
local function take(id, at, skips_void)
  local entry = call('GET', B .. 'e:' .. id)
  if not entry and skips_void then return end
  local told = tell(id, state, at, entry)
  tasks[#tasks + 1] = told
  bytes = bytes + #(entry or '')
  for _, error in ipairs(told[7]) do bytes = bytes + #error end
end
local function is_full() return #tasks >= wanted or bytes > ${pageBytesMax} end

-- @returns where the page ends, when it does
local function take_line(line, priority, lane)
  local from = 0
  if p == tostring(priority) and last_lane == lane then
    local length = call('LLEN', line)
    local left = call('LPOS', line, last, 'RANK', -1, 'MAXLEN', offset + 1000)
    if left then from = length - left end
  end
  while true do
    local ids = call('LRANGE', line, -from - 100, -from - 1)
    if #ids == 0 then return nil end
    for i = #ids, 1, -1 do
      from = from + 1
      take(ids[i], false, true)
      if is_full() then return { priority, from, ids[i], call('LLEN', line) <= from } end
    end
  end
end
if state == 'waiting' then
  local lanes = 0
  local function ended(place, lane)
    local is_last = place[4] and #call('ZRANGE', LNS, (lane == '' and '[' or '(') .. place[1] .. lane, '+', 'BYLEX', 'LIMIT', 0, 1) == 0
    for later = place[1] + 1, 9 do is_last = is_last and call('EXISTS', B .. 'p' .. later) == 0 end
    return is_last and { tasks } or { tasks, tostring(place[1]), tostring(place[2]), place[3], lane }
  end
  for priority = tonumber(p ~= '' and p or 0), 9 do
    local is_here = p == tostring(priority)
    local place = (not is_here or last_lane == '') and take_line(B .. 'p' .. priority, priority, '')
    if place then return ended(place, '') end
    local from = (is_here and offset == '-1' and '(' or '[') .. priority .. (is_here and last_lane or '')
    while true do
      local names = call('ZRANGE', LNS, from, '(' .. string.char(49 + priority), 'BYLEX', 'LIMIT', 0, 100)
      for _, name in ipairs(names) do
        local lane = sub(name, 2)
        place = take_line(line_of(lane, priority), priority, lane)
        if place then return ended(place, lane) end
      end
      if #names < 100 then break end
      lanes, from = lanes + 100, '(' .. names[100]
      if lanes >= ${pageLanesMax} then return { tasks, tostring(priority), '-1', '', sub(names[100], 2) } end
    end
  end
  return { tasks }
end

local set, is_newest_first = ({ active = ACT, scheduled = SCH, dead = DEAD, done = DONE, held = HLD })[state], state == 'dead'
local from = 0
if p ~= '' then
  local rank = call(is_newest_first and 'ZREVRANK' or 'ZRANK', set, last)
  if rank then from = rank + 1
  elseif is_newest_first then from = call('ZCOUNT', set, '(' .. p, '+inf')
  else from = call('ZCOUNT', set, '-inf', '(' .. p) end
end
while true do
  local ids = call(is_newest_first and 'ZREVRANGE' or 'ZRANGE', set, from, from + 99, 'WITHSCORES')
  if #ids == 0 then return { tasks } end
  for i = 1, #ids, 2 do
    from = from + 1
    take(ids[i], ids[i + 1], state == 'scheduled' or state == 'held')
    if is_full() then return call('ZCARD', set) <= from and { tasks } or { tasks, ids[i + 1], '0', ids[i] } end
  end
end
`)

/**
 * Returns how many wait, are scheduled, active and dead; since when the first in line could have been started, or the first in one of a hundred
 * lanes, when that is longer; the counters; how many are kept, and held; and 1 when it is paused.
 */
export const statsScript = redisScript(`${readOnly}${shared}${lines}${laneKeys}
local m = call('HMGET', META, 'enqueued', 'done', 'failed', 'crashed', 'dead', 'cancelled', 'paused', 'laned')
local waiting, since = tonumber(m[8] or 0), -1
-- Since when the first in it that is a task could have been started.
local function since_of(line, length)
  for i = 1, math.min(length, 100) do
    local id = call('LINDEX', line, -i)
    local head = id and call('GETRANGE', B .. 'e:' .. id, 0, 12) or ''
    if head ~= '' then
      local ready = call('HGET', B .. 's:' .. id, 'r') or sub(head, 3, 13)
      return math.max(0, now - tonumber(ready, 16))
    end
  end
  return -1
end
for _, line in ipairs(LINES) do
  local length = call('LLEN', line)
  waiting = waiting + length
  if since < 0 then since = since_of(line, length) end
end
if m[8] and m[8] ~= '0' then
  for _, name in ipairs(call('ZRANGE', LNS, 0, 99)) do since = math.max(since, since_of(line_of(sub(name, 2), sub(name, 1, 1)), 3)) end
end
return {
  waiting, call('ZCARD', SCH), call('ZCARD', ACT), call('ZCARD', DEAD), since, { unpack(m, 1, 6) }, call('ZCARD', DONE), call('ZCARD', HLD),
  m[7] and 1 or 0,
}
`)

/** Returns the time, and the list. */
export const historyScript = redisScript(`${readOnly}${shared}
return { now, call('LRANGE', B .. 'hist', 0, -1) }
`)

/** Writes nothing, but is refused when writing would be. */
export const probeScript = redisScript(`${whenThereIsRoom}return 1`)
