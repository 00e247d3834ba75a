import { redisScript } from '../../../redis'
import { relations } from './held'
import { moves, shared, whenFull } from './shared'

/** No line is searched beyond: an id that is further away stays in it, void, until its turn comes. */
const lineSearchedMax = 100_000
/** One script does no more: places of lines that it looked at, and a thousand for each id, which takes as long. */
const workMax = 100_000
const workOfOne = 1000
/** So many it does all the same when they stand together. */
const togetherMin = 20
/** Whoever is in a line is looked for near the one before: operators go along it. */
const nearBefore = 200
const nearAfter = 1000

/**
 * Finds in their lines those that wait, before anything is written. Places are counted from the right, since others may come in at the
 * left meanwhile. What leaves a line is blanked in its place, and the blanks are removed in one go.
 */
const lines = `
local searched, places, blanked = 0, {}, {}
local function is_in(set, id) return call('ZSCORE', set, id) end
local function waits(id) return not (is_in(ACT, id) or is_in(SCH, id) or is_in(DEAD, id) or is_in(DONE, id) or is_in(HLD, id)) end
local function line_by(head)
  local priority, lane = sub(head, 1, 1), lane_of(marks_of(head))
  return lane and line_of(lane, priority) or B .. 'p' .. priority, lane
end
-- @returns whether it has not, since that would take too long
local function finds_no_more(id, head)
  if places[id] or head == '' or not waits(id) then return false end
  if searched > ${workMax} then return true end
  local line, lane = line_by(head)
  local length = call('LLEN', line)
  local place = call('LPOS', line, id, 'RANK', -1, 'MAXLEN', ${lineSearchedMax})
  -- The same again is searched to remove the blanks.
  searched = searched + 2 * (place and length - place or math.min(length, ${lineSearchedMax}))
  if not place then return false end
  local from = math.max(0, place - ${nearAfter})
  local near = call('LRANGE', line, from, place + ${nearBefore})
  for i = 1, #near do places[near[i]] = { line = line, at = from + i - 1 - length, lane = lane } end
  return false
end
local function drop_place(id, head)
  local place = places[id]
  if place then
    blanked[#blanked + 1] = place
  elseif released[id] then
    -- It came in at the left since, when one before it was taken out.
    local line, lane = line_by(head)
    local count = call('LREM', line, 1, id)
    if lane then call('HINCRBY', META, 'laned', -count) end
  end
end
local function drop_places()
  local left = {}
  for _, place in ipairs(blanked) do
    call('LSET', place.line, place.at, '')
    left[place.line] = left[place.line] or { count = 0, lane = place.lane }
    left[place.line].count = left[place.line].count + 1
  end
  for line, each in pairs(left) do
    call('LREM', line, -each.count, '')
    -- A lane that is empty by that is forgotten when its turn comes.
    if each.lane then call('HINCRBY', META, 'laned', -each.count) end
  end
end
`

/**
 * ARGV: of each subject its words, the id first. One after the other, as if each had a call of its own. Returns an answer for each, of
 * as many as there was time for.
 */
const operating = (operate: string, { words = 1, isLeaving = true } = {}) =>
  redisScript(`${whenFull}${shared}${moves}${relations}${lines}
-- Of a task that nobody works on.
local function take_out(id, head)
  -- One that is done was remembered, and told of, when it ended.
  local marks = is_in(DONE, id) and '0' or marks_of(head)
  tell_follower(id, marks, 'c')
  forget(id, marks, true)
  leave(id, owned_lane(call('HGET', OWN, id)))
  flush()
  tell_next()
  if call('ZREM', SCH, id) + call('ZREM', DEAD, id) + call('ZREM', DONE, id) + call('ZREM', HLD, id) == 0 then drop_place(id, head) end
end
local function operate(id, head, error)
${operate}
end
local subjects, answers = 0, {}
for i = 1, #ARGV, ${words} do
  if subjects >= ${togetherMin} and searched + subjects * ${workOfOne} >= ${workMax} then break end
  if ${isLeaving} and finds_no_more(ARGV[i], head_of(ARGV[i])) then break end
  subjects = subjects + 1
end
for i = 1, subjects do
  local id = ARGV[(i - 1) * ${words} + 1]
  begin_anew()
  answers[i] = operate(id, head_of(id), ARGV[(i - 1) * ${words} + 2])
  -- A chain goes as a whole.
  if followed * ${workOfOne} >= ${workMax} then break end
end
drop_places()
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
    return call('ZREM', DEAD, id) + call('ZREM', DONE, id) + call('ZREM', SCH, id) + call('ZREM', HLD, id) > 0 and 'removed' or 'absent'
  end
  take_out(id, head)
  return 'removed'
`)

/** A unique key is its own again, for as long as was said once, unless another has taken it meanwhile. */
export const retryScript = operating(
  `
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
`,
  { isLeaving: false },
)

/** ARGV: of each the id and the error. */
export const buryScript = operating(
  `
  if head == '' then return 'absent' end
  if is_in(ACT, id) then return 'active' end
  local s = B .. 's:' .. id
  local h = call('HMGET', s, 'a', 'n')
  local _, _, follower = parts_of(marks_of(head))
  if follower or h[2] or is_in(DONE, id) then return 'unfit' end
  if is_in(DEAD, id) then return 'dead' end
  note(id, h[1] or '0', error)
  call('HSET', s, 'z', string.format('%.0f', now))
  add(dying, now, id)
  free(id, marks_of(head))
  count('dead')
  flush()
  if call('ZREM', SCH, id) == 0 then drop_place(id, head) end
  return 'buried'
`,
  { words: 2 },
)
