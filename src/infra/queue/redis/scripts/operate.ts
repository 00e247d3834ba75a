import { redisScript } from '../../../redis'
import { moves, shared, whenFull } from './shared'

/** Longer lines are not searched, since that would hold up the server: the id stays in its line, void, until its turn comes. */
const lineSearchedMax = 100_000

/** What takes a task that nobody works on out of the queue. */
const takeOut = `
local id = ARGV[1]
local head = head_of(id)
local function is_in(set) return call('ZSCORE', set, id) end
local function take_out()
  forget(id, marks_of(head), true)
  leaving[1] = id
  flush()
  call('ZREM', SCH, id)
  call('ZREM', DEAD, id)
  local line = B .. 'p' .. sub(head, 1, 1)
  if call('LLEN', line) <= ${lineSearchedMax} then call('LREM', line, 0, id) end
end
`

/** ARGV: id. */
export const cancelScript = redisScript(`${whenFull}${shared}${moves}${takeOut}
if head == '' then return 'absent' end
if is_in(ACT) then
  call('HSET', B .. 's:' .. id, 'c', 1)
  call('PUBLISH', CHANNEL, id)
  return 'cancelling'
end
if is_in(DEAD) then return 'dead' end
count('cancelled')
take_out()
return 'cancelled'
`)

/** ARGV: id. */
export const removeScript = redisScript(`${whenFull}${shared}${moves}${takeOut}
if is_in(ACT) then return 'active' end
if head == '' then
  call('UNLINK', B .. 's:' .. id, B .. 'x:' .. id)
  return call('ZREM', DEAD, id) + call('ZREM', SCH, id) > 0 and 'removed' or 'absent'
end
take_out()
return 'removed'
`)

/** ARGV: id. A unique key is its own again, for as long as was said once, unless another has taken it meanwhile. */
export const retryScript = redisScript(`${whenFull}${shared}${moves}${takeOut}
if head == '' then return 'absent' end
if not is_in(DEAD) then return 'alive' end
local unique = parts_of(marks_of(head))
if unique then
  local key = B .. 'u:' .. unique
  if not holder_of(key) then call('SET', key, id, 'PX', tonumber(sub(head, 36, 46), 16)) end
end
wait_last(id, sub(head, 1, 1))
call('ZREM', DEAD, id)
call('HSET', B .. 's:' .. id, 'f', 0, 'x', 0, 'z', '', 'r', hex(now))
wake()
return 'retried'
`)
