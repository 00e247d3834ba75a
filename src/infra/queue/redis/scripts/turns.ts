import { turnsMax } from './lanes'

/** So many lanes one claim looks at. What their limits hold back it puts aside, so that who has more asks again and finds others. */
const looksMax = 1000
/** So many are let go on by one claim, each for the reason that it was put aside. */
const letGoMax = 200
/** Without a limit. */
const endless = 1e9

/**
 * Lanes of one priority take turns, one task each, those without a lane among them as one more; who was served is behind all others then. A lane
 * that may not start any is put aside (`blk`).
 *
 * A lane here: name, place (its score in `rdy`), priority, line, run (how many are active), rule and tat, room (how many it may start), seen
 * (names of its line), starts, turn (when it was served last, of this claim); and of a round: ids, got (those that are wanted of them), is_last
 * (the line has no more).
 */
export const laneClaim = `
local lanes, starts, turns = {}, {}, 0
local emptied, trimmed, aside = {}, {}, {}
-- @returns those that may start some
local function look(page)
  local names, open = {}, {}
  for i = 1, #page, 2 do names[(i + 1) / 2] = page[i] end
  if #names == 0 then return open end
  local runs = call('HMGET', RUN, unpack(names))
  rule_of('')
  local tats = has_rates and call('ZMSCORE', TAT, unpack(names)) or {}
  for i, name in ipairs(names) do
    local rule, run, tat, room = rule_of(name), tonumber(runs[i] or 0), tonumber(tats[i] or nil), ${endless}
    if rule and rule.cap then room = rule.cap - run end
    if rule and rule.interval then room = math.min(room, tokens_of(tat, rule.interval, rule.burst)) end
    local place = tonumber(page[2 * i])
    local priority = math.floor(place / ${turnsMax})
    local lane = { name = name, place = place, priority = priority, rule = rule, run = run, tat = tat, room = room, seen = 0, starts = 0 }
    lanes[name] = lane
    if room > 0 then open[#open + 1] = lane else aside[#aside + 1] = lane end
  end
  return open
end
local function is_full(lane) return lane.rule and lane.rule.cap and lane.run + lane.starts >= lane.rule.cap end
-- Those that may start none leave rdy for blk.
local function put_aside()
  local held, parked, gone = {}, {}, {}
  for i, lane in ipairs(aside) do
    held[2 * i - 1], held[2 * i] = lane.name, (lane.priority or '-') .. version
    gone[i] = lane.name
    if not is_full(lane) then
      parked[#parked + 1] = next_start_of(lane.tat, lane.rule.interval, lane.rule.burst)
      parked[#parked + 1] = lane.name
    end
  end
  many(parked, function(...) call('ZADD', PARK, ...) end, 200)
  many(held, function(...) call('HSET', BLK, ...) end, 200)
  many(gone, function(...) call('ZREM', RDY, ...) end, 200)
  aside = {}
end

local function take_turns(take_line, take_named, left_of)
  local offset, is_whole, last_priority, at_priority, moved, used = 0, false, -1, {}, {}, {}
  for priority = 0, 9 do at_priority[priority], moved[priority] = {}, {} end
  local function read(count)
    local page = call('ZRANGE', RDY, offset, offset + count - 1, 'WITHSCORES')
    offset = offset + #page / 2
    is_whole = #page < 2 * count
    for _, lane in ipairs(look(page)) do
      lane.line = B .. 'l' .. lane.priority .. ':' .. lane.name
      table.insert(at_priority[lane.priority], lane)
    end
    if #page > 0 then last_priority = math.floor(page[#page] / ${turnsMax}) end
  end
  local has_any = {}
  local function next_priority(name, after)
    for priority = after + 1, 9 do
      if has_any[priority] == nil then
        has_any[priority] = #call('ZRANGE', LNS, '[' .. priority, '(' .. string.char(49 + priority), 'BYLEX', 'LIMIT', 0, 1) > 0
      end
      if has_any[priority] and call('EXISTS', B .. 'l' .. priority .. ':' .. name) == 1 then return priority end
    end
  end
  local going_on
  local function saw(lane, is_taken)
    lane.seen, lane.got = lane.seen + 1, lane.got - 1
    if is_taken then
      lane.room, lane.starts = lane.room - 1, lane.starts + 1
      -- Who has nobody to take turns with has none.
      if lane.name or going_on > 0 then
        turns = turns + 1
        lane.turn = turns
      end
    end
    if lane.name and (lane.room <= 0 or (lane.is_last and lane.got == 0)) then going_on = going_on - 1 end
  end
  -- It has no more of this priority. @param lane which may have some of another
  local function leave_priority(lane)
    emptied[#emptied + 1] = lane.priority .. lane.name
    trimmed[#trimmed + 1] = { lane.line, lane.seen }
    lane.priority, lane.seen = next_priority(lane.name, lane.priority), 0
    if lane.priority and lane.room > 0 then
      lane.line = B .. 'l' .. lane.priority .. ':' .. lane.name
      table.insert(moved[lane.priority], lane)
    end
  end
  local function one_round(line)
    local left, following = left_of(), {}
    local served, portion = math.min(#line, left), math.max(1, math.floor(left / #line))
    local named, from, deepest = {}, {}, 0
    going_on = #line - served
    for i = 1, served do
      local lane = line[i]
      local most = math.min(portion, lane.room)
      -- One more shows whether it has more.
      lane.ids = call('LRANGE', lane.line, -lane.seen - most - 1, -lane.seen - 1)
      lane.is_last, lane.got = #lane.ids <= most, math.min(#lane.ids, most)
      deepest = math.max(deepest, lane.got)
      if lane.name and lane.got > 0 then going_on = going_on + 1 end
    end
    for depth = 1, deepest do
      for i = 1, served do
        local lane = line[i]
        if depth <= lane.got then
          named[#named + 1] = lane.ids[#lane.ids - depth + 1]
          from[#from + 1] = lane
        end
      end
    end
    take_named(named, from, saw)
    for i = served + 1, #line do following[#following + 1] = line[i] end
    for i = 1, served do
      local lane = line[i]
      used[lane] = true
      if lane.is_last and lane.got == 0 then
        if lane.name then leave_priority(lane) end
      elseif lane.room > 0 then
        following[#following + 1] = lane
      end
    end
    return following
  end
  -- Those without a lane, as one more. Its last turn is remembered apart.
  local others, has_others = {}, call('EXISTS', unpack(LINES)) > 0
  local function put_among(line, priority)
    if not has_others or call('EXISTS', LINES[priority + 1]) == 0 then return end
    local turn, place = tonumber(call('HGET', META, 't' .. priority) or 0), 1
    while line[place] and not line[place].turn and line[place].place % ${turnsMax} < turn do place = place + 1 end
    local other = { line = LINES[priority + 1], priority = priority, room = ${endless}, seen = 0, starts = 0 }
    table.insert(line, place, other)
    others[#others + 1] = other
  end
  for priority = 0, 9 do
    local line, is_begun = at_priority[priority], false
    while left_of() > 0 do
      while not is_whole and last_priority <= priority and #line < left_of() and offset < ${looksMax} do
        read(math.min(200, left_of() - #line + 8))
      end
      table.sort(moved[priority], function(one, other) return (one.turn or 0) < (other.turn or 0) end)
      for _, lane in ipairs(moved[priority]) do line[#line + 1] = lane end
      moved[priority] = {}
      if #line == 0 then
        if not is_begun and has_others then take_line(LINES[priority + 1]) end
        break
      end
      if not is_begun then put_among(line, priority) end
      is_begun = true
      while #line > 0 and left_of() > 0 do line = one_round(line) end
      at_priority[priority] = line
    end
  end

  return function()
    local names, turn = 0, 0
    if turns > 0 then turn = call('HINCRBY', META, 'turn', turns) - turns end
    for _, other in ipairs(others) do
      if other.seen > 0 then call('LTRIM', other.line, 0, -other.seen - 1) end
      if other.turn then call('HSET', META, 't' .. other.priority, string.format('%.0f', turn + other.turn)) end
    end
    local places, gone = {}, {}
    for lane in pairs(used) do
      if lane.name then
        if lane.seen > 0 then trimmed[#trimmed + 1] = { lane.line, lane.seen } end
        if is_full(lane) or (lane.priority and lane.room <= 0) then
          if lane.starts > 0 and lane.rule.interval then lane.tat = arrival_after(lane.tat, lane.rule.interval, lane.rule.burst, lane.starts) end
          aside[#aside + 1] = lane
        elseif not lane.priority then
          gone[#gone + 1] = lane.name
        elseif lane.turn then
          places[#places + 1] = lane.priority * ${turnsMax} + turn + lane.turn
          places[#places + 1] = lane.name
        end
      end
    end
    many(places, function(...) call('ZADD', RDY, ...) end, 200)
    put_aside()
    many(gone, function(...) call('ZREM', RDY, ...) end, 200)
    for _, each in ipairs(trimmed) do
      call('LTRIM', each[1], 0, -each[2] - 1)
      names = names + each[2]
    end
    many(emptied, function(...) call('ZREM', LNS, ...) end, 200)
    if names > 0 then call('HINCRBY', META, 'laned', -names) end
  end
end
-- Before the attempts have owners.
local function count_up()
  local runs, tats = {}, {}
  for name, count in pairs(starts) do
    local lane = lanes[name]
    local rule = lane and lane.rule
    runs[#runs + 1] = name
    runs[#runs + 1] = (lane and lane.run or call('HGET', RUN, name) or 0) + count
    if rule and rule.interval then
      tats[#tats + 1] = arrival_after(lane.tat, rule.interval, rule.burst, count)
      tats[#tats + 1] = name
    end
  end
  many(runs, function(...) call('HSET', RUN, ...) end, 200)
  if #tats == 0 then return end
  many(tats, function(...) call('ZADD', TAT, ...) end, 200)
  call('PEXPIREAT', TAT, string.format('%.0f', math.ceil(call('ZRANGE', TAT, -1, -1, 'WITHSCORES')[2])))
end

-- Those whose time has come; and, when the limits are others than those by which lanes were put aside, these, some with each claim.
local function let_go_in_time(known)
  local due = call('ZRANGE', PARK, '-inf', exact, 'BYSCORE', 'LIMIT', 0, ${letGoMax})
  if #due > 0 then
    let_go(due, call('HMGET', BLK, unpack(due)))
    call('ZREM', PARK, unpack(due))
  end
  if known == version or call('EXISTS', BLK) == 0 then return end
  local before, cursor = string.match(known or '', '^(%S+) (%d+)$')
  local page = call('HSCAN', BLK, before == version and cursor or 0, 'COUNT', ${letGoMax})
  local some, values = {}, {}
  for i = 1, #page[2], 2 do
    if sub(page[2][i + 1], 2) ~= version then
      some[#some + 1], values[#values + 1] = page[2][i], page[2][i + 1]
    end
  end
  let_go(some, values)
  many(some, function(...) call('ZREM', PARK, ...) end, 200)
  call('HSET', META, 'limits', page[1] == '0' and version or version .. ' ' .. page[1])
end

-- Nothing is active, so none can be full: a count was torn.
local function let_go_idle()
  if taken > 0 or call('EXISTS', ACT) == 1 or call('HLEN', BLK) <= call('ZCARD', PARK) then return end
  call('DEL', RUN)
  local page, some, values = call('HSCAN', BLK, 0, 'COUNT', ${letGoMax})[2], {}, {}
  for i = 1, #page, 2 do
    if not call('ZSCORE', PARK, page[i]) then some[#some + 1], values[#values + 1] = page[i], page[i + 1] end
  end
  let_go(some, values)
end

-- Whether a claim now would get something from a lane. Those of which it would not are put aside.
local function is_any_lane_ready()
  if room > 0 and not has_lanes then return false end
  if call('EXISTS', RDY) == 0 then let_go_idle() end
  if rules_said == '' then return call('EXISTS', RDY) == 1 end
  local looked, count = 0, 4
  while looked < ${looksMax} do
    local page = call('ZRANGE', RDY, 0, count - 1, 'WITHSCORES')
    local is_any = #look(page) > 0
    put_aside()
    if is_any or #page == 0 then return is_any end
    looked, count = looked + count, 200
  end
  return true
end
`
