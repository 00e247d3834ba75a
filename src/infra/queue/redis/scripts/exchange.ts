import { redisScript } from '../../../redis'
import { claimOf, whatIsNextOf } from './claim'
import { relations } from './held'
import { keep } from './kept'
import { limits, plainLimits } from './limits'
import { lines, movesOf, only, shared, type Variant, whenFull } from './shared'
import { laneClaim } from './turns'

/** What most tasks need, one attempt that succeeds, costs no call of its own to each: owners are asked for together. */
const finishOf = ({ isRich }: Variant) => {
  const tell = (what: string) => only(isRich, `if marks > '7' then tell_follower(id, marks, ${what}) end`)
  return `
local finishes, at = tonumber(ARGV[1]), 2
local ids, helds, outcomes, delays, whys, owners, hashes, has_hash = {}, {}, {}, {}, {}, {}, {}, {}
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
-- Which of some have a hash: mostly none, or few.
local function find_hashes(from, to, count)
  if count == 0 then return end
  if count > to - from then
    for i = from, to do has_hash[i] = true end
    return
  end
  local middle = math.floor((from + to) / 2)
  local there = call('EXISTS', unpack(hashes, from, middle))
  find_hashes(from, middle, there)
  find_hashes(middle + 1, to, count - there)
end
for from = 1, finishes, 200 do
  local to = math.min(from + 199, finishes)
  local found = call('HMGET', OWN, unpack(ids, from, to))
  for i = from, to do
    local owner, held = found[i - from + 1], helds[i]
    owners[i] = owner and sub(owner, 1, #held + 1) == held .. ' ' and owner
    hashes[i] = B .. 's:' .. ids[i]
  end
  find_hashes(from, to, call('EXISTS', unpack(hashes, from, to)))
end

local statuses, ended = {}, {}
if finishes > 0 then
local function finish(i)
  local id, held, outcome, delay, why, owner = ids[i], helds[i], outcomes[i], delays[i], whys[i], owners[i]
  -- Dead is dead, whether that counts as a failure or not, and done is done, whether it is kept or not.
  local word = outcome == 'y' and 'x' or outcome == 'k' and 'd' or outcome
  local before = ended[id]
  if before then return before == 'gone' and 'g' or before == held .. word and 'o' or 's' end
  local s, length = hashes[i], #held
  if not owner then
    if has_hash[i] then
      local last = call('HMGET', s, 'l', 'o')
      if last[1] == held and last[2] == word then return 'o' end
    end
    return call('EXISTS', B .. 'e:' .. id) == 1 and 's' or 'g'
  end
  ended[id] = 'gone'
  local marks, lane = sub(owner, length + 2, length + 2), nil
  ${only(
    isRich,
    `if marks == '4' then
    -- Those that have nothing but a lane are many.
    lane = sub(owner, length + 5, length + 4 + number_of(sub(owner, length + 3, length + 4)))
  else`,
  )}if marks > '1' then
    marks = string.match(owner, '^%S+', length + 2)
    ${only(isRich, 'lane = lane_of(marks)')}
  end
  leave(id, lane)
  if outcome == 'k' and delay == 0 then outcome = 'd' end
  if outcome == 'd' and not has_hash[i] then
    count('done')
    ${tell(`'d', why`)}
    forget(id, marks)
    return 'o'
  end
  local h = has_hash[i] and call('HMGET', s, 'f', 'c', 'l') or {}
  if h[2] and word ~= 'd' then outcome = 'c' end
  if outcome == 'd' or outcome == 'c' then
    count(outcome == 'd' and 'done' or 'cancelled')
    ${tell(`outcome, outcome == 'd' and why`)}
    forget(id, marks, true)
    return 'o'
  end
  ended[id] = held .. word
  -- Said before, but the move was torn: it is made again, and counted once.
  local is_half, attempt, failures = h[3] == held, string.match(held, '^%d+'), h[1] or '0'
  if outcome == 'k' then
    ${tell(`'d', why`)}
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
    ${tell(`'x'`)}
    call('HSET', s, 'a', attempt, 'l', held, 'o', word, 'f', failures, 'z', string.format('%.0f', now))
    add(dying, now, id)
    free(id, marks)
    if not is_half then count('dead') end
  end
  return 'o'
end
for i = 1, finishes do statuses[i] = finish(i) end
flush()
tell_next()
begin_anew()
end
`
}

/**
 * ARGV: how many attempts are finished; of each id, `attempt:nonce` and outcome (`d`one, re`l`ease, `c`ancelled, `r`etry with delay
 * and error, `s`nooze with delay, `k`ept though done with for how long and the result, dead with error: `x` as a failure, `y` otherwise);
 * and of a claim, if any: worker, nonce, count, lease in ms, how long it is remembered in ms, 1 to remember also that it took nothing, a
 * nonce to forget, if any, and the limits, see claim.ts.
 * Returns a letter for each finish, in how many ms something is due, and of each claimed id, entry and `attempt failures crashes`. Or 0, when it has
 * done nothing since the queue needs the rich variant.
 */
const exchanging = (variant: Variant) => {
  const { isRich } = variant
  return redisScript(`${whenFull}${shared}
-- Each function that is defined looks for the names it uses among all of the function around it, but finds those further out at once.
return (function()
local m = call('HMGET', META, 'paused', ${isRich ? `'tat', 'limits'` : `'rich'`})
${only(!isRich, 'if m[2] then return 0 end')}
local is_paused = m[1]
${movesOf(variant)}${only(isRich, relations)}${lines}${keep}${finishOf(variant)}${isRich ? limits : plainLimits}${only(isRich, laneClaim)}${claimOf(variant)}${whatIsNextOf(variant)}
return { table.concat(statuses), due, claimed }
end)()
`)
}

/** For claims without limits on the queue, as long as it does not say that the other is needed. */
export const exchangeScript = exchanging({ isRich: false })
export const exchangeRichScript = exchanging({ isRich: true })
