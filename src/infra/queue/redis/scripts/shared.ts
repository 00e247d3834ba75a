import { keptIdMs } from '../../driver'
import { laneMoves } from './lanes'

/**
 * What all scripts of the queue share.
 *
 * Keys of a queue, `<prefix>:{<queue>}:<suffix>`, all in one slot of a cluster. KEYS[1] is the first; the others are made from it.
 *
 *     m        hash    counters, what the reaper knows of the server, and `rich`, see `variant`
 *     p0…p9    list    ids that wait, by priority; in at the left, out at the right
 *     sch      zset    id → ms from when it may start
 *     act      zset    id → ms until when its worker has it
 *     own      hash    id → `<attempt>:<nonce> <marks> <worker>` of each that is in act
 *     dead     zset    id → ms when it ended
 *     done     zset    id → ms until when it is kept
 *     e:<id>   string  the head, and the envelope: a task exists as long as this does
 *     s:<id>   hash    what its attempts have left, once one has ended without success; fields below
 *     x:<id>   list    the last errors
 *     r:<id>   string  its result, of a done one
 *     v:<id>   string  how far it is; whoever has one has a hash, too
 *     g:<key>  string  the group that collects under a key; see collect.ts
 *     u:<key>  string  the id that has a unique key; void when that task is gone or dead
 *     d:<id>   string  an id that is kept, after its task has ended
 *     cl:<call> string  what a call has done, in case that it is said again: the ids that a claim took, by its nonce, and replies to an
 *                       enqueue; for a short time
 *     l…, q…, lns, blk, park, run, tat: those of lanes, see lanes.ts
 *     hld, b:<id>: of tasks that wait for others, see held.ts
 *     hist     list    what was counted, each ten seconds of an hour, and what was seen since; expires
 *     w        list    a token when something waits, for whoever blocks on it
 *     c        channel ids of cancelled tasks; nothing when something is scheduled to be the next
 *     n        channel ids of tasks that are dead, or done and kept
 *
 * The head of an envelope: a digit for the priority, a hexadecimal digit of flags (1 the id is kept, 2 it has a unique key, 4 it has a
 * lane, 8 it has a follower), and from when it could first start in ms as 11 hexadecimal digits. Then what the flags name: the unique key
 * in 22 characters, with for how many ms it is unique, written like the time; the lane after its length in two hexadecimal digits; the
 * follower likewise, as `+<id>` when it wants the result, else `-<id>`.
 *
 * The marks of a task are what is to be known of it when it leaves a place: the flags and what they name, without for how long the key is unique.
 *
 * Fields of s: `a` attempts, `f` failures, `x` crashes, `c` cancelled, `r` from when it may start, as in the head, `z` since when it
 * is dead, or `d` and until when it is kept, `l` the `<attempt>:<nonce>` whose owner said last how it ended, `o` the
 * letter of how, `y` that which crashed last.
 *
 * Redis logs what a script writes, but a log that was torn in the midst of one, and that twice, may be replayed half. So each prefix of
 * the writes of each script leaves no task lost or stuck:
 * - a script reads and decides first, then writes, and nothing that it writes can be refused;
 * - what moves is added where it goes before it is removed from where it was, and the hash says before both where it belongs;
 * - a name without an envelope is void, wherever it is found;
 * - a list may name a task that is elsewhere or that it names twice: whoever comes upon it there drops it.
 */
export const shared = `
local call, sub = redis.call, string.sub
local B = sub(KEYS[1], 1, -2)
local META, ACT, OWN, SCH, DEAD, WAKE, CHANNEL = KEYS[1], B .. 'act', B .. 'own', B .. 'sch', B .. 'dead', B .. 'w', B .. 'c'
local DONE, HLD, ENDS = B .. 'done', B .. 'hld', B .. 'n'
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function hex(ms) return string.format('%011x', ms) end
-- The id that has a unique key.
local function holder_of(key)
  local holder = call('GET', key)
  return holder and call('EXISTS', B .. 'e:' .. holder) == 1 and not call('ZSCORE', DEAD, holder) and not call('ZSCORE', DONE, holder) and holder
end
-- What a task has besides its envelope.
local function traces(id) return B .. 's:' .. id, B .. 'x:' .. id, B .. 'r:' .. id, B .. 'v:' .. id end
-- Lua's stack is short, so many arguments go in portions.
local function many(list, each, portion)
  for i = 1, #list, portion do each(unpack(list, i, math.min(i + portion - 1, #list))) end
end
`

/** The longest head: with a unique key, a lane of 128 characters and the words of a follower, whose id has as many. */
const headMax = 13 + 33 + 130 + 131

/**
 * A script that most calls use comes in two variants. Lanes and tasks that wait for others are much of a script, and to define it takes longer than
 * to work off a few tasks. So the plain variant leaves them out. It serves queues where no such task ever was, which `rich` in `m` tells: an enqueue sets it
 * before it writes anything else of a task that has a lane, tells another how it ended, or waits for others. It stays.
 */
export interface Variant {
  isRich: boolean
}

/** Of a text what only one variant has. */
export const only = (has: boolean, text: string): string => (has ? text : '')

/** What a task leaves where it was and where it goes, gathered by a script and written at its end, in this order. */
export const movesOf = ({ isRich }: Variant): string => `${isRich ? laneMoves : 'local is_waiting = false'}
local trash, freed, later, dying, keeping, leaving, counts = {}, {}, {}, {}, {}, {}, {}
${only(
  isRich,
  `-- For tasks that wait for others, see held.ts: which of them end here, what they are told after that, and which are held no more.
local gone, strays, unheld = {}, {}, {}`,
)}
-- Most are short.
local function head_of(id)
  local head = call('GETRANGE', B .. 'e:' .. id, 0, 45)
  return sub(head, 2, 2) < '4' and head or call('GETRANGE', B .. 'e:' .. id, 0, ${headMax - 1})
end
-- What a hand has damaged counts as nothing, since a script that fails would fail each time.
local function number_of(text) return tonumber(text, 16) or 0 end
-- @param head or all of the entry
local function marks_of(head)
  local flags = sub(head, 2, 2)
  if flags < '2' then return flags end
  if flags < '4' then return flags .. sub(head, 14, 35) end
  local bits, at = number_of(flags), 14
  local key = bits % 4 > 1 and sub(head, 14, 35) or ''
  if bits < 4 then return flags .. key end
  if bits % 4 > 1 then at = 47 end
  local last = at - 1
  if bits % 8 > 3 then last = last + 2 + number_of(sub(head, last + 1, last + 2)) end
  if bits > 7 then last = last + 2 + number_of(sub(head, last + 1, last + 2)) end
  return flags .. key .. sub(head, at, last)
end
-- @returns unique key, lane and the words of the follower, each nil when there is none
local function parts_of(marks)
  local bits, at, key, lane, follower = number_of(sub(marks, 1, 1)), 2, nil, nil, nil
  if bits % 4 > 1 then
    key, at = sub(marks, 2, 23), 24
  end
  if bits % 8 > 3 then
    local last = at + 1 + number_of(sub(marks, at, at + 1))
    lane, at = sub(marks, at + 2, last), last + 1
  end
  if bits > 7 then follower = sub(marks, at + 2, at + 1 + number_of(sub(marks, at, at + 1))) end
  return key, lane, follower
end
${only(
  isRich,
  `local function lane_of(marks)
  local flags = sub(marks, 1, 1)
  if flags < '4' then return nil end
  if flags < '6' then return sub(marks, 4) end
  local _, lane = parts_of(marks)
  return lane
end
-- @param owner the value of own, if any
local function owned_lane(owner)
  local marks = owner and string.match(owner, '^%S+ (%S+)')
  return marks and lane_of(marks)
end`,
)}
local function is_kept(marks) return number_of(sub(marks, 1, 1)) % 2 == 1 end
local function count(what, by) counts[what] = (counts[what] or 0) + (by or 1) end
local function free(id, marks)
  local key = #marks > 1 and parts_of(marks)
  if key then freed[#freed + 1] = { id, B .. 'u:' .. key } end
end
-- The task ends, and nothing is left of it.
local function forget(id, marks, has_hash)
  local flags = sub(marks, 1, 1)
  if flags ~= '0' and flags ~= '4' then
    if is_kept(marks) then call('SET', B .. 'd:' .. id, '', 'PX', ${keptIdMs}) end
    free(id, marks)
  end
  trash[#trash + 1] = B .. 'e:' .. id
  if has_hash then
    for _, key in ipairs({ traces(id) }) do trash[#trash + 1] = key end
    ${only(
      isRich,
      `trash[#trash + 1] = B .. 'b:' .. id
    gone[id] = true`,
    )}
  end
end
-- A name without a task. What that is to wait for may have been told to it already: it stays for its time, since half of an enqueue is said again.
local function forget_void(id)
  trash[#trash + 1] = B .. 'e:' .. id
  for _, key in ipairs({ traces(id) }) do trash[#trash + 1] = key end
  ${only(isRich, `call('PEXPIRE', B .. 'b:' .. id, ${keptIdMs})`)}
end
local function add(list, score, id)
  list[#list + 1] = score
  list[#list + 1] = id
end
local function note(id, attempt, message)
  call('RPUSH', B .. 'x:' .. id, string.format('%.0f %s ', now, attempt) .. message)
  call('LTRIM', B .. 'x:' .. id, -10, -1)
end
-- Of an attempt that has ended: its task has no owner any more, and does not count in its lane.
local function leave(id, lane)
  leaving[#leaving + 1] = id
  ${only(isRich, 'if lane then leave_lane(lane) end')}
end
local function wait(push, id, priority, lane)
  ${only(
    isRich,
    `if lane then
    count('laned')
    call(push, line_of(lane, priority), id)
    if call('ZSCORE', LNS, priority .. lane) then has_come = true else enter(lane, priority) end
    return nil
  end`,
  )}
  call(push, B .. 'p' .. priority, id)
  is_waiting = true
end
-- @param priority a digit, as in the head; lane if any
local function wait_first(id, priority, lane) wait('RPUSH', id, priority, lane) end
local function wait_last(id, priority, lane) wait('LPUSH', id, priority, lane) end
-- Where a task belongs that nobody has.
local function settle(id, head, z, r)
  if z and z ~= '' then
    free(id, marks_of(head))
    if sub(z, 1, 1) == 'd' then return add(keeping, sub(z, 2), id) end
    return add(dying, z, id)
  end
  local ready = r and r ~= '' and r or sub(head, 3, 13)
  if ready > hex(now) then add(later, tonumber(ready, 16), id) else wait_last(id, sub(head, 1, 1), lane_of(marks_of(head))) end
end
local function put(command, key, list)
  for i = 1, #list, 200 do call(command, key, unpack(list, i, math.min(i + 199, #list))) end
end
local function flush()
  ${only(isRich, 'line_up()')}
  for i = 1, #trash, 200 do call('UNLINK', unpack(trash, i, math.min(i + 199, #trash))) end
  put('ZADD', SCH, later)
  put('ZADD', DEAD, dying)
  put('ZADD', DONE, keeping)
  put('HDEL', OWN, leaving)
  put('ZREM', ACT, leaving)
  ${only(
    isRich,
    `count_down()
  put('ZREM', HLD, unheld)
  for _, each in ipairs(strays) do
    call('HSET', each[1], each[2], each[3])
    call('PEXPIRE', each[1], ${keptIdMs})
  end
  unheld, strays = {}, {}`,
  )}
  for _, each in ipairs(freed) do
    if call('GET', each[2]) == each[1] then call('DEL', each[2]) end
  end
  for what, by in pairs(counts) do call('HINCRBY', META, what, by) end
  for i = 2, #dying, 2 do call('PUBLISH', ENDS, dying[i]) end
  for i = 2, #keeping, 2 do call('PUBLISH', ENDS, keeping[i]) end
end
local function begin_anew()
  trash, freed, later, dying, keeping, leaving, counts = {}, {}, {}, {}, {}, {}, {}
end
-- One token is enough: who takes it and leaves something puts another.
local function wake()
  if call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, 1) end
end
-- Whoever waits for a later time is told of an earlier one.
local function tell_next()
  if #later == 0 then return end
  local first = call('ZRANGE', SCH, 0, 0)[1]
  for i = 2, #later, 2 do
    if later[i] == first then return call('PUBLISH', CHANNEL, '') end
  end
end
`

export const moves = movesOf({ isRich: true })

/** Those of tasks without a lane, the first first. */
export const lines = `
local LINES = { ${Array.from({ length: 10 }, (_, priority) => `B .. 'p${priority}'`).join(', ')} }
`

/** Only what needs no memory may be done when the server is full: all but enqueueing, so that what is there can still be worked off. */
export const whenFull = '#!lua flags=allow-oom\n'
export const whenThereIsRoom = '#!lua\n'
export const readOnly = '#!lua flags=no-writes,allow-oom\n'
