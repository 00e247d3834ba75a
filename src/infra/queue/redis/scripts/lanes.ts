/**
 * Lanes: lines of tasks that wait under one limit, which take turns.
 *
 *     l<p>:<lane> list    ids that wait in a lane, by priority; in at the left, out at the right
 *     lns         zset    `<p><lane>` of each such list that is not empty, all with score 0, so that they are in the order of their names.
 *                         What operators have emptied stays until its turn: to look for that would take long where there are many
 *     q0…q9       list    lanes that have tasks of this priority and may be claimed from; whose turn is next at the right
 *     blk         hash    lanes that may not → by which limits that was found, and of which priorities they are in no turn for that
 *     park        zset    those of them that a rate holds back → ms until when. The others have as many active as they may
 *     run         hash    lane → how many of it are in own; and `runFiller`
 *     tat         zset    lane → the theoretical arrival time of its next start in ms; once that is past it is of no use, and removed by and by
 *
 * Where nobody uses lanes there is no lns. Each that is in lns is in its q, or blk has its priority: who finds that its limit lets none start
 * puts it there, so that nobody looks at it again before one of it ends or its time comes.
 *
 * In `m`: `laned`, how many names all of these lists have; `t<p>`, how many lanes had their turn since those without a lane; `tat` of the whole
 * queue; `paused`; and `limits`, by which those in blk were put aside: `<name> <those before> <since when in ms> <how far that is known, - to the end>`,
 * with `!` at the end when some were by others since.
 */
export const laneKeys = `
local LNS, BLK, PARK, RUN, TAT = B .. 'lns', B .. 'blk', B .. 'park', B .. 'run', B .. 'tat'
local function turns_of(priority) return B .. 'q' .. priority end
local function line_of(lane, priority) return B .. 'l' .. priority .. ':' .. lane end
-- Whether there may be something in a lane that may be claimed.
local function has_turns()
  return call('EXISTS', ${Array.from({ length: 10 }, (_, priority) => `B .. 'q${priority}'`).join(', ')}) > 0
end
`

/** A field of `run` that is no lane, and so long that Redis keeps a table: a hundred lanes are slow in what it keeps small ones in. */
export const runFiller = '-'.repeat(80)

/**
 * What happens to lanes in a script, gathered and written together. `line_up` is called after something was put into their lists and before it
 * is removed from where it was, `count_down` after attempts have lost their owners.
 */
export const laneMoves = `${laneKeys}
local entered, entered_at, is_entered, left_lanes, left, is_waiting, has_come = {}, {}, {}, {}, {}, false, false
-- Something was put into a lane that was empty. It is in lns last, so that a cut before leaves it to the next one that comes.
local function enter(lane, priority)
  if is_entered[priority .. lane] then return end
  is_entered[priority .. lane] = true
  entered[#entered + 1], entered_at[#entered_at + 1] = lane, priority
end
local function leave_lane(lane)
  if not left[lane] then left_lanes[#left_lanes + 1] = lane end
  left[lane] = (left[lane] or 0) + 1
end
local function take_turn(queues, lane, priority)
  queues[priority] = queues[priority] or {}
  table.insert(queues[priority], lane)
end
local function give_turns(queues)
  for priority, lanes in pairs(queues) do
    many(lanes, function(...) call('LPUSH', turns_of(priority), ...) end, 200)
    is_waiting = true
  end
end
-- @param lanes those that are in blk, with the values there: they are so no more. An empty one has a turn as well, so that a claim forgets it
local function let_go(lanes, values)
  local queues = {}
  for i, lane in ipairs(lanes) do
    for priority in string.gmatch(string.match(values[i] or '', '%d*$'), '%d') do
      take_turn(queues, lane, priority)
    end
  end
  give_turns(queues)
  many(lanes, function(...) call('HDEL', BLK, ...) end, 200)
end
local function line_up()
  -- It may have been empty, and nobody been told of it.
  if has_come then is_waiting = is_waiting or has_turns() end
  has_come = false
  if #entered + #left_lanes == 0 then return end
  local has_held = call('EXISTS', BLK) == 1
  local queues = {}
  for i, lane in ipairs(entered) do
    local value = has_held and call('HGET', BLK, lane)
    if not value then take_turn(queues, lane, entered_at[i])
    elseif not string.find(value, entered_at[i], (string.find(value, ' ', 1, true)), true) then call('HSET', BLK, lane, value .. entered_at[i]) end
  end
  give_turns(queues)
  for i, lane in ipairs(entered) do call('ZADD', LNS, '0', entered_at[i] .. lane) end
  entered, entered_at, is_entered = {}, {}, {}
  if not has_held then return end
  local some, values = {}, {}
  for from = 1, #left_lanes, 200 do
    local to = math.min(from + 199, #left_lanes)
    local held = call('HMGET', BLK, unpack(left_lanes, from, to))
    for i = from, to do
      local value = held[i - from + 1]
      if value and not call('ZSCORE', PARK, left_lanes[i]) then some[#some + 1], values[#values + 1] = left_lanes[i], value end
    end
  end
  if #some > 0 then let_go(some, values) end
end
local function count_down()
  local texts = {}
  for from = 1, #left_lanes, 200 do
    local to = math.min(from + 199, #left_lanes)
    local runs, some, none = call('HMGET', RUN, unpack(left_lanes, from, to)), {}, {}
    for i = from, to do
      local lane = left_lanes[i]
      local still = (runs[i - from + 1] or 0) - left[lane]
      if still > 0 then
        texts[still] = texts[still] or string.format('%d', still)
        some[#some + 1], some[#some + 2] = lane, texts[still]
      else
        none[#none + 1] = lane
      end
    end
    if #some > 0 then call('HSET', RUN, unpack(some)) end
    if #none > 0 then
      call('HDEL', RUN, unpack(none))
      if call('HLEN', RUN) == 1 then call('HDEL', RUN, '${runFiller}') end
    end
  end
  left_lanes, left = {}, {}
end
`
