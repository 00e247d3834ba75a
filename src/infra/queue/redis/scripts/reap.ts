import { redisScript } from '../../../redis'
import { poisonError, reapMax } from '../../driver'
import { relations } from './held'
import { history } from './history'
import { expire } from './kept'
import { lines, moves, shared, whenFull } from './shared'

/** A clock is not said to have jumped ahead when the reapers may as well have been away. */
const aheadMinMs = 10_000
/** Less is a clock that is being set right. */
const backMinMs = 1000
/** Whoever was told to check the queue may have died meanwhile; then another is told. Millions of tasks take minutes. */
const checkAgainMs = 600_000

/** With the place of the number. */
const poisonErrorFormat = poisonError(0).replace('0', '%d')

/**
 * ARGV: lease in ms, how many crashes make a dead letter, for how many ms those are kept, or nothing, and what was seen. Returns the ids
 * that wait again, those that are dead, 1 when there may be more, 1 when the queue is to be checked, and how many done ones and dead
 * ones were removed since their time was over.
 *
 * After a restart (`run_id`) and after a jump of the clock it takes nothing for one lease: the owners may have beaten in vain. A
 * clock that was set back leaves leases far ahead, which are shortened. While no worker lived nobody knew the time: that looks like a
 * jump ahead, and costs one lease. What a rate says of a time ahead counts as the latest that it may say.
 *
 * After a restart the queue is to be checked as well. What was torn from the end of the log may leave half a script there, which is
 * not run until the next restart, and then before all that has been done since. Half of a claim shortens a line by as many as it took,
 * and what was claimed instead shortened it again: so others are gone from it, and nobody but the check would find them.
 */
export const reapScript = redisScript(`${whenFull}${shared}${moves}${relations}${expire}${lines}${history}
local lease, crashes_max = tonumber(ARGV[1]), tonumber(ARGV[2])
look(ARGV[4])
local run = string.match(call('INFO', 'server'), 'run_id:(%w+)')
local m = call('HMGET', META, 'run', 'clock', 'reapAfter', 'isSetBack', 'checkAfter', 'parkFrom')
local last, after = tonumber(m[2] or now), math.min(tonumber(m[3] or 0), now + lease)
local is_back, is_ahead = last - now > ${backMinMs}, now - last > math.max(lease / 2, ${aheadMinMs})
local is_new = m[1] and m[1] ~= run
if is_back or is_ahead or is_new then after = now + lease end
local is_check_due = is_new or (m[5] and now >= tonumber(m[5])) or false
if is_check_due then call('HSET', META, 'checkAfter', string.format('%.0f', now + ${checkAgainMs})) end
call('HSET', META, 'run', run, 'clock', string.format('%.0f', now), 'reapAfter', string.format('%.0f', after))
if is_back then
  call('HSET', META, 'isSetBack', 1, 'parkFrom', 0)
  m[6] = '0'
end
if m[6] then
  -- Lanes that wait for their time: each is looked at anew, some with each call.
  local page, anew = call('ZSCAN', PARK, m[6], 'COUNT', ${reapMax}), {}
  for i = 1, #page[2], 2 do anew[#anew + 1], anew[#anew + 2] = 0, page[2][i] end
  many(anew, function(...) call('ZADD', PARK, 'XX', ...) end, 200)
  if page[1] == '0' then call('HDEL', META, 'parkFrom') else call('HSET', META, 'parkFrom', page[1]) end
end
if is_back or m[4] then
  local far = call('ZRANGE', ACT, '(' .. string.format('%.0f', now + lease), '+inf', 'BYSCORE', 'LIMIT', 0, ${reapMax})
  for _, id in ipairs(far) do call('ZADD', ACT, 'XX', now + lease, id) end
  if #far == 0 then call('HDEL', META, 'isSetBack') end
end
if now < after then return { {}, {}, 0, is_check_due and 1 or 0, 0, 0 } end

local done, dead, is_more = expire(tonumber(ARGV[3]))
local again, poisoned = {}, {}
local ids = call('ZRANGE', ACT, '-inf', now, 'BYSCORE', 'LIMIT', 0, ${reapMax})
local owners = #ids > 0 and call('HMGET', OWN, unpack(ids))
for i, id in ipairs(ids) do
  local head, s = head_of(id), B .. 's:' .. id
  local lane = owned_lane(owners[i])
  leave(id, lane)
  if head == '' then
    forget(id, '0', true)
  else
    local held = string.match(owners[i] or '', '^%S+')
    local h = call('HMGET', s, 'x', 'c', 'z', 'r', 'l', 'y')
    if h[2] then
      tell_follower(id, marks_of(head), 'c')
      forget(id, marks_of(head), true)
      count('cancelled')
    elseif not held or held == h[5] or held == h[6] then
      -- Half of a step that was torn: how the attempt ended is known, or that it never began.
      settle(id, head, h[3], h[4])
      again[#again + 1] = id
    else
      local crashes, attempt = (h[1] or 0) + 1, string.match(held, '^%d+')
      count('crashed')
      if crashes > crashes_max then
        note(id, attempt, string.format('${poisonErrorFormat}', crashes))
        tell_follower(id, marks_of(head), 'x')
        call('HSET', s, 'a', attempt, 'y', held, 'x', crashes, 'z', string.format('%.0f', now))
        add(dying, now, id)
        free(id, marks_of(head))
        count('dead')
        poisoned[#poisoned + 1] = id
      else
        again[#again + 1] = id
        local run_at = crashes == 1 and now or now + 2 ^ crashes * 1000
        call('HSET', s, 'a', attempt, 'y', held, 'x', crashes, 'r', hex(run_at))
        if crashes == 1 then wait_first(id, sub(head, 1, 1), lane) else add(later, run_at, id) end
      end
    end
  end
end
flush()
drop_expired(done, dead)
-- Who has ended may have held up all others, when no more than so many may be active.
if is_waiting or (#ids > 0 and (call('EXISTS', unpack(LINES)) > 0 or has_turns())) then wake() end
tell_next()
return { again, poisoned, (is_more or #ids == ${reapMax}) and 1 or 0, is_check_due and 1 or 0, #done, #dead }
`)
