import { redisScript } from '../../../redis'
import { readOnly, shared, whenThereIsRoom } from './shared'

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

/** So many bytes of envelopes in one page; one at least. */
const pageBytesMax = 1024 * 1024

/**
 * ARGV: state, count, and where the page before ended: priority, offset and id, or score and id; empty at the start. Returns tasks, and
 * the same three of the last of them when there may be more. A page begins after the task with which the last one ended; when that
 * one is gone, in a line with the first, since those before it are gone too, and in a set with the first of its score.
 */
export const listScript = redisScript(`${readOnly}${shared}${tell}
local state, wanted, p, offset, last = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local tasks, bytes = {}, 0
local function take(id, at, skips_void)
  local entry = call('GET', B .. 'e:' .. id)
  if not entry and skips_void then return end
  tasks[#tasks + 1] = tell(id, state, at, entry)
  bytes = bytes + #(entry or '')
end
local function is_full() return #tasks >= wanted or bytes > ${pageBytesMax} end

if state == 'waiting' then
  for priority = tonumber(p ~= '' and p or 0), 9 do
    local line, from = B .. 'p' .. priority, 0
    if p ~= '' and priority == tonumber(p) then
      local length = call('LLEN', line)
      local left = call('LPOS', line, last, 'RANK', -1, 'MAXLEN', offset + 1000)
      if left then from = length - left end
    end
    while true do
      local ids = call('LRANGE', line, -from - 100, -from - 1)
      if #ids == 0 then break end
      for i = #ids, 1, -1 do
        from = from + 1
        take(ids[i], false, true)
        if is_full() then
          local is_last = call('LLEN', line) <= from
          for later = priority + 1, 9 do is_last = is_last and call('EXISTS', B .. 'p' .. later) == 0 end
          return is_last and { tasks } or { tasks, tostring(priority), tostring(from), ids[i] }
        end
      end
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

/** Returns how many wait, are scheduled, active and dead; since when the first in line could have been started, the counters, and how many are kept, and held. */
export const statsScript = redisScript(`${readOnly}${shared}
local waiting, since = 0, -1
for priority = 0, 9 do
  local line = B .. 'p' .. priority
  local length = call('LLEN', line)
  waiting = waiting + length
  -- The first that is a task.
  for i = 1, math.min(length, 100) do
    if since >= 0 then break end
    local id = call('LINDEX', line, -i)
    local head = call('GETRANGE', B .. 'e:' .. id, 0, 12)
    if head ~= '' then
      local ready = call('HGET', B .. 's:' .. id, 'r') or sub(head, 3, 13)
      since = math.max(0, now - tonumber(ready, 16))
    end
  end
end
local counters = call('HMGET', META, 'enqueued', 'done', 'failed', 'crashed', 'dead', 'cancelled')
return { waiting, call('ZCARD', SCH), call('ZCARD', ACT), call('ZCARD', DEAD), since, counters, call('ZCARD', DONE), call('ZCARD', HLD) }
`)

/** Writes nothing, but is refused when writing would be. */
export const probeScript = redisScript(`${whenThereIsRoom}return 1`)
