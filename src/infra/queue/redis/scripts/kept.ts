import { redisScript } from '../../../redis'
import { keptIdMs, reapMax } from '../../driver'
import { readOnly, shared, whenFull } from './shared'

/** A task that is done stays for a time, when that was said. Everything of it is there before its set names it. */
export const keep = `
local function keep(id, marks, held, keep_ms, result, is_cancelled)
  local s, till = B .. 's:' .. id, string.format('%.0f', now + keep_ms)
  if is_kept(marks) then call('SET', B .. 'd:' .. id, '', 'PX', ${keptIdMs}) end
  if result ~= '' then call('SET', B .. 'r:' .. id, result) end
  call('HSET', s, 'a', string.match(held, '^%d+'), 'l', held, 'o', 'd', 'z', 'd' .. till)
  if is_cancelled then call('HDEL', s, 'c') end
  add(keeping, till, id)
  free(id, marks)
end
`

/** When so many were cancelled with those that they wait for, the others expire later. */
const followedMax = 100

/**
 * Those whose time is over: of the done, which were remembered when they ended, nothing is left; dead ones end here. What somebody works
 * on again stays.
 */
export const expire = `
local function expired(set, till)
  local ids = call('ZRANGE', set, '-inf', till, 'BYSCORE', 'LIMIT', 0, ${reapMax})
  local found, active = {}, #ids > 0 and call('ZMSCORE', ACT, unpack(ids))
  for i, id in ipairs(ids) do
    -- It is there only since a step was torn, and would be in the way of others.
    if active[i] then call('ZREM', set, id) else found[#found + 1] = id end
  end
  return found, #ids == ${reapMax}
end
local function expire(keep_dead_ms)
  local done, is_more_done = expired(DONE, string.format('%.0f', now))
  local dead, is_more_dead = {}, false
  if keep_dead_ms then dead, is_more_dead = expired(DEAD, string.format('%.0f', now - keep_dead_ms)) end
  for _, id in ipairs(done) do forget(id, '0', true) end
  local dropped = {}
  for i, id in ipairs(dead) do
    if followed >= ${followedMax} then break end
    local marks = marks_of(head_of(id))
    tell_follower(id, marks, 'c')
    forget(id, marks, true)
    dropped[i] = id
  end
  return done, dropped, is_more_done or is_more_dead or #dropped < #dead
end
local function drop_expired(done, dead)
  if #done > 0 then call('ZREM', DONE, unpack(done)) end
  if #dead > 0 then call('ZREM', DEAD, unpack(dead)) end
end
`

/** ARGV: id, \`attempt:nonce\` and what it says of how far it is, of each. Returns 1 for each whose attempt is its own, and 0. */
export const reportScript = redisScript(`${whenFull}${shared}
local replies = {}
for i = 1, #ARGV, 3 do
  local id, held = ARGV[i], ARGV[i + 1]
  local is_own = sub(call('HGET', OWN, id) or '', 1, #held + 1) == held .. ' '
  if is_own then
    -- Who ends a task looks for more of it where there is a hash.
    call('HSET', B .. 's:' .. id, 'a', string.match(held, '^%d+'))
    call('SET', B .. 'v:' .. id, ARGV[i + 2])
  end
  replies[#replies + 1] = is_own and 1 or 0
end
return replies
`)

/** ARGV: ids. Returns of each 0 when it is not there, else how it ended, result, last error and how far it was, each empty when there is none. */
export const peekScript = redisScript(`${readOnly}${shared}
local replies, dead, done = {}, call('ZMSCORE', DEAD, unpack(ARGV)), call('ZMSCORE', DONE, unpack(ARGV))
for i, id in ipairs(ARGV) do
  if call('EXISTS', B .. 'e:' .. id) == 0 then
    replies[i] = 0
  else
    local is_active = (dead[i] or done[i]) and call('ZSCORE', ACT, id)
    local outcome = not is_active and (dead[i] and 'dead' or done[i] and 'done') or ''
    local _, errors, result, progress = traces(id)
    replies[i] = {
      outcome,
      outcome == 'done' and call('GET', result) or '',
      outcome == 'dead' and call('LINDEX', errors, -1) or '',
      call('GET', progress) or '',
    }
  end
end
return replies
`)
