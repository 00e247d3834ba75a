import { redisScript } from '../../../redis'
import { moves, shared, whenFull } from './shared'

const finish = `
local statuses, ended = {}, {}
local function finish(id, attempt, nonce, outcome, delay, why)
  local held = attempt .. ':' .. nonce
  if ended[id] == held then return 'o' end
  local s = B .. 's:' .. id
  local h = call('HMGET', s, 'a', 'k', 'f', 'c', 'g', 'l', 'x')
  if h[1] ~= attempt or h[2] ~= nonce then
    if h[6] == held then return 'o' end
    return call('EXISTS', B .. 'e:' .. id) == 1 and 's' or 'g'
  end
  local failures, marks = h[3] or '0', h[5]
  if h[4] and outcome ~= 'd' then outcome = 'c' end
  leaving[#leaving + 1] = id
  if outcome == 'd' or outcome == 'c' then
    ended[id] = held
    count(outcome == 'd' and 'done' or 'cancelled')
    forget(id, marks, h[3] or h[7])
    return 'o'
  end
  if outcome == 'r' or outcome == 'x' then
    failures = string.format('%d', failures + 1)
    count('failed')
  end
  if why then note(id, attempt, why) end
  if outcome == 'l' then
    local priority = call('GETRANGE', B .. 'e:' .. id, 0, 0)
    call('HSET', s, 'k', '', 'w', '', 'l', held)
    if priority ~= '' then wait_first(id, priority) end
  elseif delay then
    local run = now + delay
    call('HSET', s, 'k', '', 'w', '', 'l', held, 'f', failures, 'r', hex(run))
    add(later, run, id)
  else
    call('HSET', s, 'k', '', 'w', '', 'l', held, 'f', failures, 'z', string.format('%.0f', now))
    add(dying, now, id)
    free(id, marks)
    count('dead')
  end
  return 'o'
end
local at = 2
for i = 1, tonumber(ARGV[1]) do
  local id, attempt, nonce, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local delay, why
  at = at + 4
  if outcome == 'r' or outcome == 's' then
    delay = tonumber(ARGV[at])
    at = at + 1
  end
  if outcome == 'r' or outcome == 'x' or outcome == 'y' then
    why = ARGV[at]
    at = at + 1
  end
  statuses[i] = finish(id, attempt, nonce, outcome, delay, why)
end
flush()
`

/**
 * Those that a list names, from its right. What is elsewhere too, or named twice, or has no envelope, is only dropped from the list.
 * Where a task belongs its hash says; whether it is there, its set.
 */
const claim = `
local claimed = {}
local worker, nonce, wanted = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2] or 0)

local function again(ids)
  for id in string.gmatch(ids, '%S+') do
    local h = call('HMGET', B .. 's:' .. id, 'k', 'a', 'f', 'x')
    local entry = h[1] == nonce and call('ZSCORE', ACT, id) and call('GET', B .. 'e:' .. id)
    if entry then
      claimed[#claimed + 1] = id
      claimed[#claimed + 1] = entry
      claimed[#claimed + 1] = h[2] .. ' ' .. (h[3] or 0) .. ' ' .. (h[4] or 0)
    end
  end
end

-- What is due goes to the end of its line, a hundred with each claim: neither waits for the other's backlog.
local function promote()
  local due = call('ZRANGE', SCH, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
  if #due == 0 then return end
  local lines = {}
  for _, id in ipairs(due) do
    local priority = call('GETRANGE', B .. 'e:' .. id, 0, 0)
    if priority ~= '' then
      lines[priority] = lines[priority] or {}
      table.insert(lines[priority], id)
    else
      call('UNLINK', B .. 's:' .. id, B .. 'x:' .. id)
    end
  end
  for priority, line in pairs(lines) do call('LPUSH', B .. 'p' .. priority, unpack(line)) end
  call('ZREM', SCH, unpack(due))
end

local function take(lease, life, keeps_nothing_too)
  local now_hex, seen, leases, trims, taken, cancelled, void = hex(now), {}, {}, {}, {}, {}, {}
  local left, looks = wanted, wanted + 1000
  local function consider(id, entry, is_active)
    if seen[id] or is_active then return end
    seen[id] = true
    if not entry then
      void[#void + 1] = id
      return
    end
    local h = call('HMGET', B .. 's:' .. id, 'a', 'f', 'x', 'r', 'c', 'z')
    local ready = h[4] or sub(entry, 3, 13)
    if ready > now_hex and call('ZSCORE', SCH, id) then return end
    if h[6] and h[6] ~= '' and call('ZSCORE', DEAD, id) then return end
    if h[5] then
      cancelled[#cancelled + 1] = { id, marks_of(sub(entry, 1, 35)) }
      return
    end
    local attempt = string.format('%d', (h[1] or 0) + 1)
    claimed[#claimed + 1] = id
    claimed[#claimed + 1] = entry
    claimed[#claimed + 1] = attempt .. ' ' .. (h[2] or 0) .. ' ' .. (h[3] or 0)
    taken[#taken + 1] = { id, attempt, not h[1] and marks_of(sub(entry, 1, 35)), h[6] }
    add(leases, lease, id)
    left = left - 1
  end
  for priority = 0, 9 do
    local line, seen_here = B .. 'p' .. priority, 0
    while left > 0 and looks > 0 do
      local ids = call('LRANGE', line, -seen_here - math.min(left, 200), -seen_here - 1)
      local found = #ids
      if found == 0 then break end
      local keys = {}
      for i = 1, found do keys[i] = B .. 'e:' .. ids[i] end
      local entries, scores = call('MGET', unpack(keys)), call('ZMSCORE', ACT, unpack(ids))
      for i = found, 1, -1 do consider(ids[i], entries[i], scores[i]) end
      seen_here, looks = seen_here + found, looks - found
    end
    if seen_here > 0 then trims[#trims + 1] = { line, seen_here } end
    if left <= 0 or looks <= 0 then break end
  end

  local record = {}
  for i, each in ipairs(taken) do
    local s = B .. 's:' .. each[1]
    if each[3] then call('HSET', s, 'a', each[2], 'k', nonce, 'w', worker, 'g', each[3])
    else call('HSET', s, 'a', each[2], 'k', nonce, 'w', worker) end
    if each[4] and each[4] ~= '' then call('HSET', s, 'z', '') end
    record[i] = each[1]
  end
  many(leases, function(...) call('ZADD', ACT, ...) end, 200)
  if #record > 0 or keeps_nothing_too then call('SET', B .. 'cl:' .. nonce, table.concat(record, ' '), 'PX', life) end
  trash, freed, later, dying, leaving, counts = {}, {}, {}, {}, {}, {}
  for _, each in ipairs(cancelled) do
    forget(each[1], each[2], true)
    count('cancelled')
  end
  for _, id in ipairs(void) do forget(id, nil, true) end
  flush()
  for _, each in ipairs(trims) do call('LTRIM', each[1], 0, -each[2] - 1) end
  return left
end

local unfilled = 0
tell_next()
if wanted > 0 then
  if ARGV[at + 6] ~= '' then call('DEL', B .. 'cl:' .. ARGV[at + 6]) end
  local record = call('GET', B .. 'cl:' .. nonce)
  if record then
    again(record)
  else
    promote()
    unfilled = take(now + ARGV[at + 3], ARGV[at + 4], ARGV[at + 5] == '1')
  end
end
`

const whatIsNext = `
local due = -1
local lines = call('EXISTS', B .. 'p0', B .. 'p1', B .. 'p2', B .. 'p3', B .. 'p4', B .. 'p5', B .. 'p6', B .. 'p7', B .. 'p8', B .. 'p9')
if lines > 0 then
  due = 0
  wake()
else
  if unfilled > 0 then call('DEL', WAKE) end
  local first = call('ZRANGE', SCH, 0, 0, 'WITHSCORES')
  if first[2] then due = math.max(0, first[2] - now) end
end
`

/**
 * ARGV: how many attempts are finished; of each id, attempt, nonce and outcome (`d`one, re`l`ease, `c`ancelled, `r`etry with delay
 * and error, `s`nooze with delay, dead with error: `x` as a failure, `y` otherwise); and of a claim, if any: worker, nonce, count,
 * lease in ms, how long it is remembered in ms, 1 to remember also that it took nothing, and a nonce to forget, if any.
 * Returns a letter for each finish, in how many ms something is due, and of each claimed id, entry and `attempt failures crashes`.
 */
export const exchangeScript = redisScript(`${whenFull}${shared}${moves}${finish}${claim}${whatIsNext}
return { table.concat(statuses), due, claimed }
`)
