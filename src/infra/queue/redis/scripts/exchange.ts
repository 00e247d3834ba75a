import { redisScript } from '../../../redis'
import { relations } from './held'
import { keep } from './kept'
import { moves, shared, whenFull } from './shared'

const lines = `
local LINES = { ${Array.from({ length: 10 }, (_, priority) => `B .. 'p${priority}'`).join(', ')} }
`

/** What most tasks need, one attempt that succeeds, costs no call of its own to each: owners are asked for together. */
const finish = `
local finishes, at = tonumber(ARGV[1]), 2
local ids, helds, outcomes, delays, whys, owners, hashes = {}, {}, {}, {}, {}, {}, 0
for i = 1, finishes do
  local outcome = ARGV[at + 2]
  ids[i], helds[i], outcomes[i] = ARGV[at], ARGV[at + 1], outcome
  at = at + 3
  if outcome ~= 'd' then
    if outcome == 'r' or outcome == 's' or outcome == 'k' then
      delays[i] = tonumber(ARGV[at])
      at = at + 1
    end
    if outcome == 'r' or outcome == 'x' or outcome == 'y' or outcome == 'k' then
      whys[i] = ARGV[at]
      at = at + 1
    end
  end
end
for from = 1, finishes, 200 do
  local to = math.min(from + 199, finishes)
  local found, keys = call('HMGET', OWN, unpack(ids, from, to)), {}
  for i = from, to do
    owners[i] = found[i - from + 1]
    keys[i - from + 1] = B .. 's:' .. ids[i]
  end
  hashes = hashes + call('EXISTS', unpack(keys))
end

local statuses, ended = {}, {}
local function finish(i)
  local id, held, outcome, delay, why, owner = ids[i], helds[i], outcomes[i], delays[i], whys[i], owners[i]
  -- Dead is dead, whether that counts as a failure or not, and done is done, whether it is kept or not.
  local word = outcome == 'y' and 'x' or outcome == 'k' and 'd' or outcome
  local before = ended[id]
  if before then return before == 'gone' and 'g' or before == held .. word and 'o' or 's' end
  local s, length = B .. 's:' .. id, #held
  if not owner or sub(owner, 1, length + 1) ~= held .. ' ' then
    if hashes > 0 then
      local last = call('HMGET', s, 'l', 'o')
      if last[1] == held and last[2] == word then return 'o' end
    end
    return call('EXISTS', B .. 'e:' .. id) == 1 and 's' or 'g'
  end
  ended[id] = 'gone'
  leaving[#leaving + 1] = id
  local marks = sub(owner, length + 2, length + 2)
  if marks > '1' then marks = string.match(owner, '^%S+', length + 2) end
  if outcome == 'k' and delay == 0 then outcome = 'd' end
  if hashes == 0 and outcome == 'd' then
    count('done')
    if marks > '7' then tell_follower(id, marks, 'd', why) end
    forget(id, marks)
    return 'o'
  end
  local h = call('HMGET', s, 'f', 'c', 'l')
  if h[2] and word ~= 'd' then outcome = 'c' end
  if outcome == 'd' or outcome == 'c' then
    count(outcome == 'd' and 'done' or 'cancelled')
    tell_follower(id, marks, outcome, outcome == 'd' and why)
    forget(id, marks, true)
    return 'o'
  end
  ended[id] = held .. word
  -- Said before, but the move was torn: it is made again, and counted once.
  local is_half, attempt, failures = h[3] == held, string.match(held, '^%d+'), h[1] or '0'
  if outcome == 'k' then
    tell_follower(id, marks, 'd', why)
    keep(id, marks, held, delay, why, h[2])
    if not is_half then count('done') end
    return 'o'
  end
  if not is_half then
    if outcome == 'r' or outcome == 'x' then
      failures = string.format('%d', failures + 1)
      count('failed')
    end
    if why then note(id, attempt, why) end
  end
  if outcome == 'l' then
    local priority = call('GETRANGE', B .. 'e:' .. id, 0, 0)
    call('HSET', s, 'a', attempt, 'l', held, 'o', word)
    if priority ~= '' then wait_first(id, priority) end
  elseif delay then
    local run = now + delay
    local priority = delay == 0 and call('GETRANGE', B .. 'e:' .. id, 0, 0) or ''
    call('HSET', s, 'a', attempt, 'l', held, 'o', word, 'f', failures, 'r', hex(run))
    if priority ~= '' then wait_last(id, priority) else add(later, run, id) end
  else
    tell_follower(id, marks, 'x')
    call('HSET', s, 'a', attempt, 'l', held, 'o', word, 'f', failures, 'z', string.format('%.0f', now))
    add(dying, now, id)
    free(id, marks)
    if not is_half then count('dead') end
  end
  return 'o'
end
for i = 1, finishes do statuses[i] = finish(i) end
flush()
`

/** One claim takes no more tasks when their envelopes have so many bytes together: the rest is for the next. */
const claimBytesMax = 4 * 1024 * 1024

/**
 * Those that a list names, from its right. What is elsewhere too, or named twice, or has no envelope, is only dropped from the list.
 * Where a task belongs its hash says; whether it is there, its set.
 */
const claim = `
local claimed = {}
local worker, nonce, wanted = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2] or 0)

local function again(record)
  for id in string.gmatch(record, '%S+') do
    local held, owner_nonce = string.match(call('HGET', OWN, id) or '', '^(%d+):(%S+) ')
    local entry = owner_nonce == nonce and call('ZSCORE', ACT, id) and call('GET', B .. 'e:' .. id)
    if entry then
      local h = call('HMGET', B .. 's:' .. id, 'f', 'x')
      claimed[#claimed + 1] = id
      claimed[#claimed + 1] = entry
      claimed[#claimed + 1] = held .. ' ' .. (h[1] or 0) .. ' ' .. (h[2] or 0)
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
      call('UNLINK', traces(id))
    end
  end
  for priority, line in pairs(lines) do call('LPUSH', B .. 'p' .. priority, unpack(line)) end
  call('ZREM', SCH, unpack(due))
end

local function take(lease, life, keeps_nothing_too)
  local now_hex, first_owner = hex(now), '1:' .. nonce .. ' 0 ' .. worker
  local seen, record, owners, leases, trims, cancelled, void, revived = {}, {}, {}, {}, {}, {}, {}, {}
  local left, looks, bytes, portion = wanted, wanted + 1000, 0, 50
  local function consider(id, entry, has_hashes)
    if not entry then
      void[#void + 1] = id
      return
    end
    local attempt, failures, crashes, ready = 1, false, false, sub(entry, 3, 13)
    if has_hashes then
      local h = call('HMGET', B .. 's:' .. id, 'a', 'f', 'x', 'r', 'c', 'z', 'n')
      -- One that is held is named here from an earlier life.
      if h[7] and not h[4] then return end
      if h[7] then unheld[#unheld + 1] = id end
      if h[5] then
        cancelled[#cancelled + 1] = { id, marks_of(entry) }
        return
      end
      if h[6] and h[6] ~= '' then
        if call('ZSCORE', DEAD, id) or call('ZSCORE', DONE, id) then return end
        revived[#revived + 1] = id
      end
      attempt, failures, crashes, ready = (h[1] or 0) + 1, h[2], h[3], h[4] or ready
    end
    if ready > now_hex and call('ZSCORE', SCH, id) then return end
    local n = #record + 1
    record[n] = id
    claimed[3 * n - 2], claimed[3 * n - 1] = id, entry
    leases[2 * n - 1], leases[2 * n] = lease, id
    owners[2 * n - 1] = id
    if attempt == 1 and not failures and not crashes then
      claimed[3 * n] = '1 0 0'
    else
      claimed[3 * n] = string.format('%d %s %s', attempt, failures or '0', crashes or '0')
    end
    if attempt == 1 and sub(entry, 2, 2) == '0' then owners[2 * n] = first_owner
    else owners[2 * n] = string.format('%d:%s %s %s', attempt, nonce, marks_of(entry), worker) end
    left, bytes = left - 1, bytes + #entry
  end
  -- Who is idle finds them all empty, with one look.
  local priorities = call('EXISTS', unpack(LINES)) > 0 and 9 or -1
  for priority = 0, priorities do
    local line, seen_here = LINES[priority + 1], 0
    while left > 0 and looks > 0 do
      local named = call('LRANGE', line, -seen_here - math.min(left, portion), -seen_here - 1)
      local found = #named
      if found == 0 then break end
      local entry_keys, hash_keys = {}, {}
      for i = 1, found do
        entry_keys[i] = B .. 'e:' .. named[i]
        hash_keys[i] = B .. 's:' .. named[i]
      end
      local entries, leased = call('MGET', unpack(entry_keys)), call('ZMSCORE', ACT, unpack(named))
      local has_hashes = call('EXISTS', unpack(hash_keys)) > 0
      for i = found, 1, -1 do
        local id = named[i]
        if not seen[id] and not leased[i] then
          seen[id] = true
          consider(id, entries[i], has_hashes)
        end
      end
      seen_here, looks = seen_here + found, looks - found
      if bytes > ${claimBytesMax} then looks = 0 end
      portion = math.max(1, math.min(200, math.floor(${claimBytesMax} * #record / math.max(bytes, 1))))
      if #record == 0 then portion = 200 end
    end
    if seen_here > 0 then trims[#trims + 1] = { line, seen_here } end
    if left <= 0 or looks <= 0 then break end
  end

  many(owners, function(...) call('HSET', OWN, ...) end, 200)
  many(leases, function(...) call('ZADD', ACT, ...) end, 200)
  if #record > 0 or keeps_nothing_too then call('SET', B .. 'cl:' .. nonce, table.concat(record, ' '), 'PX', life) end
  for _, id in ipairs(revived) do call('HSET', B .. 's:' .. id, 'z', '') end
  trash, freed, later, dying, keeping, leaving, counts = {}, {}, {}, {}, {}, {}, {}
  for _, each in ipairs(cancelled) do
    tell_follower(each[1], each[2], 'c')
    forget(each[1], each[2], true)
    count('cancelled')
  end
  for _, id in ipairs(void) do forget(id, '0', true) end
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
    tell_next()
  end
end
`

const whatIsNext = `
local due = -1
if call('EXISTS', unpack(LINES)) > 0 then
  due = 0
  wake()
else
  if unfilled > 0 then call('DEL', WAKE) end
  local first = call('ZRANGE', SCH, 0, 0, 'WITHSCORES')
  if first[2] then due = math.max(0, math.ceil(first[2] - now)) end
end
`

/**
 * ARGV: how many attempts are finished; of each id, `attempt:nonce` and outcome (`d`one, re`l`ease, `c`ancelled, `r`etry with delay
 * and error, `s`nooze with delay, `k`ept though done with for how long and the result, dead with error: `x` as a failure, `y` otherwise); and of a claim, if any: worker, nonce, count,
 * lease in ms, how long it is remembered in ms, 1 to remember also that it took nothing, and a nonce to forget, if any.
 * Returns a letter for each finish, in how many ms something is due, and of each claimed id, entry and `attempt failures crashes`.
 */
export const exchangeScript = redisScript(`${whenFull}${shared}${moves}${relations}${lines}${keep}${finish}${claim}${whatIsNext}
return { table.concat(statuses), due, claimed }
`)
