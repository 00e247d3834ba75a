import { redisScript } from '../../../redis'
import { collecting } from './collect'
import { arriving, calledOff, holding, relations } from './held'
import { laneMoves } from './lanes'
import { lines, moves, only, shared, type Variant, whenThereIsRoom } from './shared'

/**
 * ARGV: a name for what the call has done, the number of the call, how long it is remembered in ms, and the most that may wait, be scheduled
 * or be held before, or nothing. When the same is said again,
 * since no answer came, its tasks may have been done by then, and nothing is left of those whose ids are not kept: only what is
 * remembered of the call tells that they are not new. It is written last, since half a call is done again.
 *
 * And of each task: id; priority and flags, and a `d` when it is delayed, an `h` when it is held, a `g` when it belongs to a group; the rest of
 * its entry after the time; then the delay in ms; or for how many it is held, 1 for those that must be done, and its delay; or the key of the
 * group with its rule. Returns 0 when all were enqueued, else of each 0, 1 for a duplicate, 2 when there are as many as may be, or the id of
 * another: after `=` of that which has its unique key, after `+` of the group that it was added to.
 *
 * The id comes into its list before the envelope is there, since an id alone is void: a half of this is nothing, and done again
 * does all. The other way round, who says it again would be told that it is there, while nobody can find it.
 */
const enqueuing = ({ isRich, areAlone }: Variant & { areAlone: boolean }) =>
  redisScript(`${whenThereIsRoom}${shared}${only(isRich, areAlone ? laneMoves : moves + relations)}
local RECORD = B .. 'cl:' .. ARGV[1]
local known = call('GET', RECORD)
if known and string.match(known, '^%S+') == ARGV[2] then
  local said = {}
  for word in string.gmatch(known, ' (%S+)') do
    said[#said + 1] = #word > 1 and word or tonumber(word)
  end
  return #said > 0 and said or 0
end

local is_full = false
if ARGV[4] ~= '' then
  ${lines}
  local backlog = (call('HGET', META, 'laned') or 0) + call('ZCARD', SCH) + call('ZCARD', B .. 'hld')
  for _, line in ipairs(LINES) do backlog = backlog + call('LLEN', line) end
  is_full = backlog >= tonumber(ARGV[4])
end

local n, at, argc = 0, 5, #ARGV
local ids, keys, kinds, rests, more, probes = {}, {}, {}, {}, {}, {}
-- Most tasks of a call are of one kind.
local known_kinds, waiting, now_hex = {}, {}, hex(now)
${isRich ? 'local is_rich = false' : 'local is_waiting = false'}
local function kind_of(head)
  local priority, bits = sub(head, 1, 1), tonumber(sub(head, 2, 2), 16)
  waiting[priority] = waiting[priority] or {}
  local kind = {
    priority = priority,
    line = waiting[priority],
    ${only(isRich, 'lane_at = bits % 8 > 3 and (bits % 4 > 1 and 34 or 1),')}
    start = sub(head, 1, 2),
    ready = sub(head, 1, 2) .. now_hex,
    is_delayed = sub(head, 3, 3) == 'd',
    ${only(
      !areAlone,
      `is_held = sub(head, 3, 3) == 'h',
    is_grouped = sub(head, 3, 3) == 'g',`,
    )}
    is_unique = bits % 4 > 1,
    is_kept = bits % 2 == 1,
  }
  known_kinds[head] = kind
  ${only(isRich, 'is_rich = is_rich or bits > 3 or kind.is_held')}
  return kind
end
while at <= argc do
  n = n + 1
  local id, head = ARGV[at], ARGV[at + 1]
  local kind, key = known_kinds[head] or kind_of(head), B .. 'e:' .. id
  ids[n], keys[n], kinds[n], rests[n] = id, key, kind, ARGV[at + 2]
  at = at + 3
  if kind.is_delayed${only(!areAlone, ' or kind.is_held or kind.is_grouped')} then
    more[n] = ARGV[at]
    at = at + 1
  end
  if kind.is_kept then probes[#probes + 1] = B .. 'd:' .. id end
end

local found = 0
local function probe(...) found = found + call('EXISTS', ...) end
many(keys, probe, 200)
many(probes, probe, 200)
local function is_known(id, key) return call('EXISTS', key, B .. 'd:' .. id) > 0 end

local scheduled, unique, entries, taken, seen, last = {}, {}, {}, {}, {}, 0
local replies
local function refuse(i, reply)
  if not replies then
    replies = {}
    for j = 1, n do replies[j] = 0 end
  end
  replies[i] = reply
end
${only(
  isRich,
  `-- Tasks of one lane and priority, in their order.
local in_lanes, lists = {}, {}
local function put_in_lane(id, priority, rest, from)
  local lane = sub(rest, from + 2, from + 1 + tonumber(sub(rest, from, from + 1), 16))
  local name = priority .. lane
  local list = in_lanes[name]
  if not list then
    list = { lane = lane, priority = priority, name = name }
    in_lanes[name], lists[#lists + 1] = list, list
  end
  list[#list + 1] = id
end`,
)}
-- @returns whether nobody else has it
local function take(i, id, key)
  local holder = taken[key] or holder_of(B .. 'u:' .. key)
  if holder then
    refuse(i, '=' .. holder)
    return false
  end
  taken[key] = id
  unique[#unique + 1] = { B .. 'u:' .. key, id, tonumber(sub(rests[i], 23, 33), 16) }
  return true
end
${only(!areAlone, arriving + collecting)}
for i = 1, n do
  local id, kind = ids[i], kinds[i]
  if seen[id] or (found > 0 and is_known(id, keys[i])) then
    refuse(i, 1)
  elseif is_full then
    local holder = kind.is_unique and holder_of(B .. 'u:' .. sub(rests[i], 1, 22))
    refuse(i, holder and '=' .. holder or 2)
  ${only(
    !areAlone,
    `elseif kind.is_grouped then
    local group = collect(id, kind, rests[i], more[i])
    if group then refuse(i, '+' .. group) end
    if kind.is_kept or not group then seen[id] = true end
  `,
  )}elseif not kind.is_unique or take(i, id, sub(rests[i], 1, 22)) then
    seen[id] = true
    local place = ${only(!areAlone, 'kind.is_held and arrive(i) or ')}kind.is_delayed and 'later' or 'line'
    if place ~= 'nowhere' then
      entries[last + 1] = keys[i]
      if place == 'later' then
        local run = now + more[i]
        scheduled[#scheduled + 1] = run
        scheduled[#scheduled + 1] = id
        entries[last + 2] = kind.start .. hex(run) .. rests[i]
      else
        if place == 'line' then
          ${only(isRich, 'if kind.lane_at then put_in_lane(id, kind.priority, rests[i], kind.lane_at) else')} kind.line[#kind.line + 1] = id ${only(isRich, 'end')}
        end
        entries[last + 2] = kind.ready .. rests[i]
      end
      last = last + 2
    end
  end
end

${only(isRich, `if is_rich then call('HSETNX', META, 'rich', 1) end`)}
${only(!areAlone, holding)}
if last > 0${only(!areAlone, ' or #collected > 0')} then
  for priority, line in pairs(waiting) do
    is_waiting = is_waiting or #line > 0
    many(line, function(...) call('LPUSH', B .. 'p' .. priority, ...) end, 200)
  end
  ${only(
    isRich,
    `local laned = 0
  for from = 1, #lists, 200 do
    local names = {}
    for i = from, math.min(from + 199, #lists) do names[#names + 1] = lists[i].name end
    for i, is_there in ipairs(call('ZMSCORE', LNS, unpack(names))) do
      local list = lists[from + i - 1]
      many(list, function(...) call('LPUSH', line_of(list.lane, list.priority), ...) end, 200)
      laned = laned + #list
      if not is_there then enter(list.lane, list.priority) end
    end
  end
  line_up()
  if laned > 0 then
    call('HINCRBY', META, 'laned', laned)
    is_waiting = is_waiting or has_turns()
  end`,
  )}
  many(scheduled, function(...) call('ZADD', SCH, ...) end, 200)
  for _, each in ipairs(unique) do call('SET', each[1], each[2], 'PX', each[3]) end
  many(entries, function(...) call('MSET', ...) end, 200)
  call('HINCRBY', META, 'enqueued', last / 2)
  ${only(!areAlone, 'keep_groups()')}
  if is_waiting and call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, 1) end
  if #scheduled > 0 and seen[call('ZRANGE', SCH, 0, 0)[1]] then call('PUBLISH', CHANNEL, '') end
end
${only(!areAlone, calledOff)}
local words = { ARGV[2] }
for i, reply in ipairs(replies or {}) do words[i + 1] = reply end
call('SET', RECORD, table.concat(words, ' '), 'PX', ARGV[3])
return replies or 0
`)

/** Of tasks that have no lane, tell nobody how they ended, wait for nobody, and belong to no group. */
export const enqueueScript = enqueuing({ isRich: false, areAlone: true })
/** The same where some have lanes or tell others how they ended. */
export const enqueueRichScript = enqueuing({ isRich: true, areAlone: true })
/** And where some are held or belong to groups. */
export const enqueueRelatedScript = enqueuing({ isRich: true, areAlone: false })
