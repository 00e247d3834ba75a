import { redisScript } from '../../../redis'
import { runFiller } from './lanes'
import { checking, searchMs } from './fsck'

/** So many names of lines one step looks at. */
const namesMax = 1000
/** So many lanes one step looks at, and goes once through all that take turns to find theirs. */
const lanesMax = 200
/** Of more attempts, or lanes, none are counted anew, since that takes one step. */
const countedMax = 10_000

/**
 * ARGV: fix, the lane with which the step before ended, with its priority, if any. Returns where to go on, nothing at the end, findings, and lines
 * that are to be checked by themselves, being long. Each lane that has tasks takes turns, or is put aside for a reason.
 */
export const checkLanesScript = redisScript(`${checking}
local names = call('ZRANGE', LNS, ARGV[2] == '' and '-' or '(' .. ARGV[2], '+', 'BYLEX', 'LIMIT', 0, ${lanesMax})
local looked, long, last, turns_had = 0, {}, '', {}
local function count_turns(priority)
  local turns = turns_of(priority)
  local length, had = call('LLEN', turns), turns_had[priority]
  for from = 0, length - 1, ${namesMax} do
    for _, lane in ipairs(call('LRANGE', turns, from, from + ${namesMax - 1})) do
      if had[lane] then had[lane] = had[lane] + 1 end
    end
  end
end
for _, name in ipairs(names) do
  local priority = sub(name, 1, 1)
  turns_had[priority] = turns_had[priority] or {}
  turns_had[priority][sub(name, 2)] = 0
end
for priority in pairs(turns_had) do count_turns(priority) end
for _, name in ipairs(names) do
  local priority, lane = sub(name, 1, 1), sub(name, 2)
  local line, turns, value = line_of(lane, priority), turns_of(priority), call('HGET', BLK, lane)
  local length, count = call('LLEN', line), turns_had[priority][lane]
  local has_turn = count > 0
  local is_aside = is_aside(lane, priority)
  local has_reason = call('ZSCORE', PARK, lane) or tonumber(call('HGET', RUN, lane) or 0) > 0
  if count > 1 and found('turns', lane) then call('LREM', turns, count - 1, lane) end
  if has_turn and is_aside and has_reason then
    if found('turns', lane) then call('LREM', turns, 0, lane) end
  elseif not has_turn and (not is_aside or not has_reason) then
    if found('turnless', lane) then
      if is_aside then let_go({ lane }, { value }) else call('LPUSH', turns, lane) end
      call('ZREM', PARK, lane)
      is_waiting = true
    end
  end
  if length > ${namesMax} then long[#long + 1] = 'l' .. priority .. ':' .. lane
  else check_line(line, call('LRANGE', line, 0, -1), 0) end
  if blanks > 0 then leave_blanks(line, lane) end
  looked, last = looked + length, name
  if looked > ${namesMax} then break end
end
if is_waiting then wake() end
return { #names == 0 and '' or last, findings, long }
`)

/** ARGV: fix, priority, offset from the left. Returns the next offset, -1 at the end, and findings. */
export const checkTurnsScript = redisScript(`${checking}
local priority, from = ARGV[2], tonumber(ARGV[3])
local turns, seen = turns_of(priority), {}
local names = call('LRANGE', turns, from, from + ${namesMax - 1})
for _, lane in ipairs(names) do
  if seen[lane] or not (call('ZSCORE', LNS, priority .. lane) or call('EXISTS', line_of(lane, priority)) == 1) then
    if found('turns', lane) then
      call('LREM', turns, 1, lane)
      from = from - 1
    end
  end
  seen[lane] = true
end
return { #names == ${namesMax} and from + ${namesMax} or -1, findings }
`)

/**
 * ARGV: fix, the name of the search, the lane with which the step before ended, with its priority, if any, and how many of its names were seen.
 * What waits in lanes is searched no longer. Returns the same of the last lane, nothing at the end, and how many are still searched.
 */
export const searchLanesScript = redisScript(`${checking}
local search, last, from = B .. 'f:' .. ARGV[2], ARGV[3], tonumber(ARGV[4])
local names, looked = call('ZRANGE', LNS, last == '' and '-' or '[' .. last, '+', 'BYLEX', 'LIMIT', 0, ${namesMax}), 0
for i, name in ipairs(names) do
  if name ~= last then last, from = name, 0 end
  while from >= 0 and looked < ${5 * namesMax} do
    local ids = call('LRANGE', line_of(sub(name, 2), sub(name, 1, 1)), from, from + ${namesMax - 1})
    many(ids, function(...) call('SREM', search, ...) end, 200)
    from, looked = #ids == ${namesMax} and from + #ids or -1, looked + #ids + 1
  end
  if from >= 0 then break end
end
call('PEXPIRE', search, ${searchMs})
local is_over = #names < ${namesMax} and from < 0 or #names == 0
return { is_over and '' or last, from < 0 and 1e9 or from, call('SCARD', search) }
`)

/** ARGV: fix. What is counted of lanes, compared with what is there. */
export const checkCountsScript = redisScript(`${checking}
if call('HLEN', OWN) <= ${countedMax} then
  local runs, owners, counted = {}, call('HGETALL', OWN), call('HGETALL', RUN)
  for i = 2, #owners, 2 do
    local lane = owned_lane(owners[i])
    if lane then runs[lane] = (runs[lane] or 0) + 1 end
  end
  for i = 1, #counted, 2 do
    local lane = counted[i]
    if lane ~= '${runFiller}' and not runs[lane] then runs[lane] = 0 end
  end
  for lane, count in pairs(runs) do
    if tonumber(call('HGET', RUN, lane) or 0) ~= count and found('count', lane) then
      if count > 0 then call('HSET', RUN, '${runFiller}', 0, lane, count) else call('HDEL', RUN, lane) end
      -- It may have been put aside for that.
      local value = call('HGET', BLK, lane)
      if value and not call('ZSCORE', PARK, lane) then let_go({ lane }, { value }) end
    end
  end
  if fixes and call('HLEN', RUN) == 1 then call('HDEL', RUN, '${runFiller}') end
end
local names, laned = call('ZCARD', LNS) <= ${countedMax} and call('ZRANGE', LNS, 0, -1), 0
for _, name in ipairs(names or {}) do laned = laned + call('LLEN', line_of(sub(name, 2), sub(name, 1, 1))) end
if names and tonumber(call('HGET', META, 'laned') or 0) ~= laned and found('laned', '') then call('HSET', META, 'laned', laned) end
if is_waiting then wake() end
return { findings }
`)
