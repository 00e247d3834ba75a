import { redisScript } from '../../../redis'
import { beforeMax, keptIdMs } from '../../driver'
import { readOnly, shared } from './shared'

/**
 * Tasks that wait until others have ended.
 *
 *     hld      zset    id → ms when it came, of each that is held
 *     b:<id>   hash    how those have ended that it is, or was, held for: the id of each → a letter, `x` dead, `c` cancelled, `d` done, and
 *                      the result when it wants that. There before the task is, too, and then for a time
 *
 * Fields of s: `n` for how many it is held, of each that ever was; `N` when only those count that are done; `w` its delay from then on. One
 * that has these, and no `r`, has not been released yet.
 *
 * How a task ended is told before it leaves its place, and whoever it was told to is on its way before that as well: told again after a
 * cut, it is the same. Who is on its way may still be in hld; then its `r` tells. What is cancelled for it goes before it does, and the last of a chain first, so that each cut leaves one to begin with.
 */
export const relations = `
local certainty, released = { x = 1, c = 2, d = 3 }, {}
-- How many were cancelled with others so far: who can stop then does.
local followed = 0
-- What it waited for has ended: it begins its delay.
local function release(id, head, delay)
  local run = now + delay
  call('HSET', B .. 's:' .. id, 'r', hex(run))
  if delay > 0 then
    call('ZADD', SCH, run, id)
    add(later, run, id)
  else
    local _, lane = parts_of(marks_of(head))
    wait_last(id, sub(head, 1, 1), lane)
    if lane then line_up() end
  end
  unheld[#unheld + 1], released[id] = id, true
end
-- @returns the marks of the one that is to be cancelled as well, and its id
local function tell_one(id, marks, letter, result)
  local _, _, words = parts_of(marks)
  if not words then return nil end
  local next = sub(words, 2)
  local key, after = B .. 'b:' .. next, call('HMGET', B .. 's:' .. next, 'n', 'N', 'w')
  local is_there = after[1] and not gone[next] and call('EXISTS', B .. 'e:' .. next) == 1
  local is_held = is_there and not released[next] and call('ZSCORE', HLD, next)
  if is_there and after[2] and letter ~= 'd' then return letter == 'c' and is_held and marks_of(head_of(next)), next end
  local value = letter .. (result and sub(words, 1, 1) == '+' and result or '')
  if gone[next] then
    strays[#strays + 1] = { key, id, value }
    return nil
  end
  local before = call('HGET', key, id)
  if not before or (certainty[sub(before, 1, 1)] or 0) < certainty[letter] then call('HSET', key, id, value) end
  if not is_there then call('PEXPIRE', key, ${keptIdMs})
  elseif is_held and call('HLEN', key) >= tonumber(after[1]) then release(next, head_of(next), tonumber(after[3] or 0)) end
  return nil
end
-- Tells the one that waits for it, if any, how a task ends. To be called before anything else says that it has ended.
local function tell_follower(id, marks, letter, result)
  -- Most tell nobody.
  if marks < '8' then return end
  local cancelled = {}
  local next_marks, next = tell_one(id, marks, letter, result)
  while next_marks do
    gone[next] = true
    cancelled[#cancelled + 1] = { next, next_marks }
    next_marks, next = tell_one(next, next_marks, 'c')
  end
  followed = followed + #cancelled
  for i = #cancelled, 1, -1 do
    forget(cancelled[i][1], cancelled[i][2], true)
    unheld[#unheld + 1] = cancelled[i][1]
    count('cancelled')
  end
end
`

/** Of an enqueue, one that waits for others: those that have ended before it count already. Nothing is written here. */
export const arriving = `
local related, hold, called_off = {}, {}, {}
-- @returns held, or where it is when it is held no more, or nowhere when it is cancelled with one that it needs
local function arrive(i)
  local key = B .. 'b:' .. ids[i]
  local n, needs_done, delay = string.match(more[i], '(%d+) (%d) (%d+)')
  local ended, dead = call('HLEN', key), {}
  if ended > 0 and needs_done == '1' then
    local outcomes = call('HGETALL', key)
    for at = 1, #outcomes, 2 do
      local letter = sub(outcomes[at + 1], 1, 1)
      if letter == 'c' then
        called_off[#called_off + 1] = i
        return 'nowhere'
      end
      if letter == 'x' then dead[#dead + 1] = outcomes[at] end
    end
    ended = ended - #dead
  end
  local fields = { 'n', n, 'w', delay }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if needs_done == '1' then field('N', 1) end
  more[i] = tonumber(delay)
  local is_over = ended >= tonumber(n)
  if is_over then
    field('r', hex(now + more[i]))
  else
    hold[#hold + 1] = now
    hold[#hold + 1] = ids[i]
  end
  related[#related + 1] = { id = ids[i], key = key, fields = fields, dead = dead, has_ends = ended + #dead > 0 }
  return not is_over and 'held' or more[i] > 0 and 'later' or 'line'
end
`
/** Before they are in a place. */
export const holding = `
for _, each in ipairs(related) do
  call('HSET', B .. 's:' .. each.id, unpack(each.fields))
  if each.has_ends then call('PERSIST', each.key) end
  many(each.dead, function(...) call('HDEL', each.key, ...) end, 200)
end
many(hold, function(...) call('ZADD', HLD, ...) end, 200)
`
/** They are cancelled before they were there. What they were told stays for its time: when the call is said again, it says the same. */
export const calledOff = `
for _, i in ipairs(called_off) do
  local marks = marks_of(kinds[i].ready .. rests[i])
  count('enqueued')
  count('cancelled')
  tell_follower(ids[i], marks, 'c')
  if is_kept(marks) then call('SET', B .. 'd:' .. ids[i], '', 'PX', ${keptIdMs}) end
end
if #called_off > 0 then
  flush()
  if is_waiting then wake() end
  tell_next()
end
`

/** What can be wrong of a task that is held, and what mends it. Of one that nobody knows for what it is held an operator decides. */
export const heldFault = `
local function is_unreleased(id)
  local h = call('HMGET', B .. 's:' .. id, 'n', 'r')
  return h[1] and not h[2]
end
local function held_fault(id)
  for _, set in ipairs({ ACT, SCH, DEAD, DONE }) do
    if call('ZSCORE', set, id) then
      return 'twice', function() call('ZREM', HLD, id) end
    end
  end
  local h = call('HMGET', B .. 's:' .. id, 'n', 'w', 'r')
  if not h[1] then
    return 'aimless', function()
      tell_follower(id, marks_of(head_of(id)), 'x')
      note(id, '0', 'lost: nobody knows for what it was held')
      call('HSET', B .. 's:' .. id, 'z', string.format('%.0f', now))
      add(dying, now, id)
      count('dead')
      unheld[#unheld + 1] = id
    end
  end
  if h[3] or call('HLEN', B .. 'b:' .. id) >= tonumber(h[1]) then
    return 'ended', function() release(id, head_of(id), tonumber(h[2] or 0)) end
  end
end
`

/** ARGV: id. Returns ids, letters and results of those that it is, or was, held for. */
export const beforeScript = redisScript(`${readOnly}${shared}
local key = B .. 'b:' .. ARGV[1]
if call('HLEN', key) <= ${beforeMax} then return call('HGETALL', key) end
local found, cursor = {}, '0'
repeat
  local page = call('HSCAN', key, cursor, 'COUNT', ${beforeMax})
  cursor = page[1]
  for i = 1, #page[2] do
    if #found < ${2 * beforeMax} then found[#found + 1] = page[2][i] end
  end
until cursor == '0' or #found >= ${2 * beforeMax}
return found
`)
