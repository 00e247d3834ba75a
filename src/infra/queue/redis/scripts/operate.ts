import { redisScript } from '../../../redis'
import { relations } from './held'
import { moves, shared, whenFull } from './shared'

/** No line is searched beyond: an id that is further away stays in it, void, until its turn comes. */
const lineSearchedMax = 100_000
/** Once so many places of lines were searched, by one script, the rest of the ids is for the next. */
const searchedMax = 100_000

/**
 * ARGV: ids. One after the other, as if each had a call of its own. Returns an answer for each, of as many as there was time for.
 * What it is in one set is not looked for in a line, where it would be void.
 */
const operating = (operate: string) =>
  redisScript(`${whenFull}${shared}${moves}${relations}
local searched = 0
local function is_in(set, id) return call('ZSCORE', set, id) end
local function leave_line(id, head)
  local priority, lane = sub(head, 1, 1), lane_of(marks_of(head))
  local line = lane and line_of(lane, priority) or B .. 'p' .. priority
  local length = call('LLEN', line)
  local place = call('LPOS', line, id, 'RANK', -1, 'MAXLEN', ${lineSearchedMax})
  searched = searched + 2 * (place and length - place or math.min(length, ${lineSearchedMax}))
  if not place then return end
  call('LREM', line, -1, id)
  if not lane then return end
  call('HINCRBY', META, 'laned', -1)
  if length > 1 then return end
  call('ZREM', LNS, priority .. lane)
  call('LREM', turns_of(priority), 0, lane)
end
-- Of a task that nobody works on.
local function take_out(id, head)
  -- One that is done was remembered, and told of, when it ended.
  local marks = is_in(DONE, id) and '0' or marks_of(head)
  tell_follower(id, marks, 'c')
  forget(id, marks, true)
  leave(id, owned_lane(call('HGET', OWN, id)))
  flush()
  tell_next()
  if call('ZREM', SCH, id) + call('ZREM', DEAD, id) + call('ZREM', DONE, id) + call('ZREM', HLD, id) == 0 then leave_line(id, head) end
end
local function operate(id, head)
${operate}
end
local answers = {}
for i, id in ipairs(ARGV) do
  if i > 1 and searched > ${searchedMax} then break end
  begin_anew()
  answers[i] = operate(id, head_of(id))
end
if is_waiting then wake() end
return answers
`)

export const cancelScript = operating(`
  if head == '' then return 'absent' end
  if is_in(ACT, id) then
    call('HSET', B .. 's:' .. id, 'c', 1)
    call('PUBLISH', CHANNEL, id)
    return 'cancelling'
  end
  if is_in(DEAD, id) then return 'dead' end
  if is_in(DONE, id) then return 'done' end
  count('cancelled')
  take_out(id, head)
  return 'cancelled'
`)

export const removeScript = operating(`
  if is_in(ACT, id) then return 'active' end
  if head == '' then
    call('UNLINK', traces(id))
    return call('ZREM', DEAD, id) + call('ZREM', DONE, id) + call('ZREM', SCH, id) > 0 and 'removed' or 'absent'
  end
  take_out(id, head)
  return 'removed'
`)

/** A unique key is its own again, for as long as was said once, unless another has taken it meanwhile. */
export const retryScript = operating(`
  if head == '' then return 'absent' end
  if not is_in(DEAD, id) then return 'alive' end
  local unique, lane = parts_of(marks_of(head))
  if unique then
    local key = B .. 'u:' .. unique
    if not holder_of(key) then call('SET', key, id, 'PX', tonumber(sub(head, 36, 46), 16)) end
  end
  wait_last(id, sub(head, 1, 1), lane)
  flush()
  call('ZREM', DEAD, id)
  call('HSET', B .. 's:' .. id, 'f', 0, 'x', 0, 'z', '', 'r', hex(now))
  return 'retried'
`)
