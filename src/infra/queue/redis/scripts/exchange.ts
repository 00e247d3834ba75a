import { redisScript } from '../../../redis'
import { claim, whatIsNext } from './claim'
import { relations } from './held'
import { keep } from './kept'
import { limits } from './limits'
import { lines, moves, shared, whenFull } from './shared'
import { steering } from './turns'

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
  local marks, lane = sub(owner, length + 2, length + 2), nil
  if marks == '4' then
    -- Those that have nothing but a lane are many.
    lane = sub(owner, length + 5, length + 4 + number_of(sub(owner, length + 3, length + 4)))
  elseif marks > '1' then
    marks = string.match(owner, '^%S+', length + 2)
    lane = lane_of(marks)
  end
  leave(id, lane)
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
    if priority ~= '' then wait_first(id, priority, lane) end
  elseif delay then
    local run = now + delay
    local priority = delay == 0 and call('GETRANGE', B .. 'e:' .. id, 0, 0) or ''
    call('HSET', s, 'a', attempt, 'l', held, 'o', word, 'f', failures, 'r', hex(run))
    if priority ~= '' then wait_last(id, priority, lane) else add(later, run, id) end
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

/**
 * ARGV: how many attempts are finished; of each id, `attempt:nonce` and outcome (`d`one, re`l`ease, `c`ancelled, `r`etry with delay
 * and error, `s`nooze with delay, `k`ept though done with for how long and the result, dead with error: `x` as a failure, `y` otherwise);
 * and of a claim, if any: worker, nonce, count, lease in ms, how long it is remembered in ms, 1 to remember also that it took nothing, a
 * nonce to forget, if any, and the limits, see claim.ts.
 * Returns a letter for each finish, in how many ms something is due, and of each claimed id, entry and `attempt failures crashes`.
 */
export const exchangeScript = redisScript(`${whenFull}${shared}return (function()
${moves}${relations}${lines}${keep}${finish}${limits}${steering}${claim}${whatIsNext}
return { table.concat(statuses), due, claimed }
end)()
`)
