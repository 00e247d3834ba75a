/**
 * Lanes: lines of tasks that wait under one limit, which take turns.
 *
 *     l<p>:<lane> list    ids that wait in a lane, by priority; in at the left, out at the right
 *     lns         zset    `<p><lane>` of each such list that is not empty, all with score 0, so that they are in the order of their names
 *     rdy         zset    lanes that may be claimed from → their best priority, and when they had their last turn
 *     blk         hash    lanes that may not → the priority of what is first in them, or `-` when they are empty, and by which limits that was found
 *     park        zset    those of them that a rate holds back → ms until when. The others have as many active as they may
 *     run         hash    lane → how many of it are in own
 *     tat         zset    lane → the theoretical arrival time of its next start in ms; nothing of it is of use once that is past
 *
 * Where nobody uses lanes there are neither rdy nor blk. A lane in which something waits is in one of them; who finds that its limit lets
 * none start puts it into blk, so that nobody looks at it again before one of it ends or its time comes.
 *
 * In `m`: `laned`, how many names all of these lists have; `turn`, which was the last; `t<p>`, which was the last of the tasks of that priority
 * without a lane; `tat` of the whole queue; `limits`, of which claimer the limits are by which those in blk were found full, or how far
 * that is known; `paused`.
 */
export const laneKeys = `
local LNS, RDY, BLK, PARK, RUN, TAT = B .. 'lns', B .. 'rdy', B .. 'blk', B .. 'park', B .. 'run', B .. 'tat'
`

/** In the score of a lane a priority comes before all turns, and both are whole numbers of less than 2^53. */
export const turnsMax = 2 ** 49

/**
 * What happens to lanes in a script, gathered and written in the order of what happened first. `line_up` is called after something was put into
 * their lists and before it is removed from where it was, `count_down` after attempts have lost their owners.
 */
export const laneMoves = `${laneKeys}
local touched, touches, is_waiting = {}, {}, false
local function touch(lane)
  local t = touches[lane]
  if not t then
    t = { left = 0 }
    touches[lane], touched[#touched + 1] = t, lane
  end
  return t
end
-- Something waits in it.
local function enter(lane, priority)
  local t = touch(lane)
  if not t.best or priority < t.best then t.best = priority end
end
-- The first priority, from this one on, of which something waits in it.
local function best_of(lane, from)
  for priority = from, 9 do
    if call('EXISTS', B .. 'l' .. priority .. ':' .. lane) == 1 then return priority end
  end
end
-- @param lanes each with its priority: they get the last places, in their order
local function give_places(lanes)
  local n, places = #lanes / 2, {}
  if n == 0 then return end
  local turn = call('HINCRBY', META, 'turn', n) - n
  for i = 1, n do
    places[2 * i - 1] = lanes[2 * i] * ${turnsMax} + turn + i
    places[2 * i] = lanes[2 * i - 1]
  end
  many(places, function(...) call('ZADD', RDY, ...) end, 200)
end
-- @param lanes those that are in blk, with the values there: they are so no more
local function let_go(lanes, values)
  local ready = {}
  for i, lane in ipairs(lanes) do
    local best = tonumber(sub(values[i] or '', 1, 1))
    local priority = best and best_of(lane, best)
    if priority then
      ready[#ready + 1] = lane
      ready[#ready + 1] = priority
    end
  end
  give_places(ready)
  many(lanes, function(...) call('HDEL', BLK, ...) end, 200)
  if #ready > 0 then is_waiting = true end
end
local function line_up()
  if #touched == 0 then return end
  local has_held = call('EXISTS', BLK) == 1
  local ups, moved, out = {}, {}, {}
  for from = 1, #touched, 200 do
    local to = math.min(from + 199, #touched)
    local held = has_held and call('HMGET', BLK, unpack(touched, from, to)) or {}
    local places
    for i = from, to do
      local lane, value = touched[i], held[i - from + 1]
      local t = touches[lane]
      if value then
        local best = sub(value, 1, 1)
        local is_better = t.best and (best == '-' or t.best < best)
        if is_better then best = t.best end
        if t.left > 0 and not call('ZSCORE', PARK, lane) then
          out[#out + 1] = lane
          local priority = best ~= '-' and best_of(lane, tonumber(best))
          if priority then
            ups[#ups + 1] = lane
            ups[#ups + 1] = priority
          end
        elseif is_better then
          call('HSET', BLK, lane, best .. sub(value, 2))
        end
      elseif t.best then
        places = places or call('ZMSCORE', RDY, unpack(touched, from, to))
        local place = places[i - from + 1]
        if not place then
          ups[#ups + 1] = lane
          ups[#ups + 1] = t.best
        elseif math.floor(place / ${turnsMax}) > tonumber(t.best) then
          moved[#moved + 1] = t.best * ${turnsMax} + place % ${turnsMax}
          moved[#moved + 1] = lane
        end
        is_waiting = true
      end
    end
  end
  give_places(ups)
  many(moved, function(...) call('ZADD', RDY, ...) end, 200)
  many(out, function(...) call('HDEL', BLK, ...) end, 200)
  if #ups > 0 then is_waiting = true end
end
local function count_down()
  local lanes = {}
  for _, lane in ipairs(touched) do
    if touches[lane].left > 0 then lanes[#lanes + 1] = lane end
  end
  for from = 1, #lanes, 200 do
    local to = math.min(from + 199, #lanes)
    local runs, some, none = call('HMGET', RUN, unpack(lanes, from, to)), {}, {}
    for i = from, to do
      local left = (runs[i - from + 1] or 0) - touches[lanes[i]].left
      if left > 0 then
        some[#some + 1] = lanes[i]
        some[#some + 1] = left
      else
        none[#none + 1] = lanes[i]
      end
    end
    if #some > 0 then call('HSET', RUN, unpack(some)) end
    if #none > 0 then call('HDEL', RUN, unpack(none)) end
  end
end
`
