import { lettingGo, looksMax, puttingAside } from './aside'
import { runFiller } from './lanes'
import { oneEach } from './one-each'

/** Without a limit. */
const endless = 1e9

/**
 * What a claim knows of lanes. Of a lane: name, run (how many are active), room (how many it may start yet), starts (those of this claim), and its rule
 * and tat, if any; of the priority that is its turn: at (which), line, seen (names of it), rest (how many it has yet, as far as that is
 * known; -1 before it was asked). Where there are as many lanes as tasks are claimed even that is too much: see one-each.ts.
 */
const looking = `
local lanes, known, begun, elsewhere, has_more, looked = {}, {}, {}, {}, false, 0
-- Said when all is decided, in this order: how many run, what rates say, names that leave lines, lanes that are empty, that go on, and that had their turn.
local run_pairs, tat_pairs, trimmed, emptied, returned, passed = { '${runFiller}', 0 }, {}, {}, {}, {}, {}
-- Numbers that are said to Redis often are made into text once.
local texts = {}
local function text_of(number)
  local text = texts[number]
  if not text then
    text = string.format('%d', number)
    texts[number] = text
  end
  return text
end
-- @returns of each how many are active, the arrival time of its rate, its rule, and how many it may start
local function rooms_of(names)
  rule_of('')
  local runs, tats, found, rooms = call('HMGET', RUN, unpack(names)), has_rates and call('ZMSCORE', TAT, unpack(names)) or {}, {}, {}
  local has_rules = rules_said ~= ''
  for i = 1, #names do
    local rule, room = has_rules and rule_of(names[i]), ${endless}
    if rule then
      if rule.cap then room = rule.cap - (runs[i] or 0) end
      if rule.interval then room = math.min(room, tokens_of(tonumber(tats[i] or nil), rule.interval, rule.burst)) end
    end
    found[i], rooms[i] = rule or false, room
  end
  return runs, tats, found, rooms
end
local function lane_at(name, priority, run, tat, room)
  local lane = lanes[name]
  if not lane then
    local starts = begun[name] or 0
    lane = {
      name = name, run = tonumber(run or 0), room = room - starts, starts = starts, at = priority, line = line_of(name, priority), seen = 0, rest = -1,
    }
    lane.rule, lane.tat = rule_of(name), tonumber(tat or nil)
    lanes[name] = lane
  elseif lane.at ~= priority then
    lane.at, lane.line, lane.seen, lane.rest = priority, line_of(name, priority), 0, -1
  else
    -- A torn log has left two of them.
    return false
  end
  return lane
end
local function reversed(names)
  local some, n = {}, #names
  for i = n, 1, -1 do some[n - i + 1] = names[i] end
  return some
end
`

/**
 * Lanes of one priority take turns, one task each, those without a lane among them as one more; who was served is behind all others then. A lane
 * that may not start any is put aside (`blk`).
 */
const taking = `
local others = {}
local function take_turns(take_line, take_named, left_of)
  local turns, has_others = 0, call('EXISTS', unpack(LINES)) > 0
  local function saw(lane, is_taken)
    lane.seen, lane.rest = lane.seen + 1, lane.rest - 1
    if not lane.name then
      if is_taken then lane.turn = turns end
    elseif is_taken then
      lane.room, lane.starts, turns = lane.room - 1, lane.starts + 1, turns + 1
    end
  end
  -- Those of its lanes that go on, who was not served first.
  local function one_round(line, priority)
    local left, length = left_of(), #line
    local served, portion = math.min(length, left), math.max(1, math.floor(left / length))
    local named, from, of, count = {}, {}, {}, 0
    if portion == 1 then
      for i = 1, served do
        local lane = line[i]
        local seen = lane.seen
        local id = call('LINDEX', lane.line, seen == 0 and '-1' or text_of(-seen - 1))
        lane.rest = id and call('LLEN', lane.line) - seen or 0
        if id then
          count = count + 1
          named[count], from[count], of[count] = id, lane, lane.name
        end
      end
    else
      local lists, most, deepest = {}, {}, 0
      for i = 1, served do
        local lane = line[i]
        local wanted = math.min(portion, lane.room)
        -- One more shows whether there are more.
        local ids = call('LRANGE', lane.line, text_of(-lane.seen - wanted - 1), text_of(-lane.seen - 1))
        lists[i], most[i], lane.rest = ids, math.min(#ids, wanted), #ids
        if most[i] > deepest then deepest = most[i] end
      end
      for depth = 1, deepest do
        for i = 1, served do
          if depth <= most[i] then
            count = count + 1
            named[count], from[count], of[count] = lists[i][#lists[i] - depth + 1], line[i], line[i].name
          end
        end
      end
    end
    take_named(named, of, function(_, is_taken, i) saw(from[i], is_taken) end)
    local following, n = {}, length - served
    for i = 1, n do following[i] = line[served + i] end
    for i = 1, served do
      local lane = line[i]
      if lane.rest == 0 then
        if lane.name then emptied[#emptied + 1] = priority .. lane.name end
        if lane.seen == 0 then looked = looked + 1 end
      elseif lane.room > 0 then
        n = n + 1
        following[n] = lane
      else
        put_aside(lane, priority)
      end
    end
    return following
  end
  -- Those without a lane are next when each lane had a turn since they had theirs.
  local function put_among(line, priority, queue)
    local since = tonumber(call('HGET', META, 't' .. priority) or nil)
    local other = { at = priority, line = LINES[priority + 1], room = ${endless}, seen = 0, turns = turns, since = since or 0, rest = -1, name = false }
    others[#others + 1] = other
    table.insert(line, math.min(#line + 1, since and math.max(1, call('LLEN', queue) - since + 1) or 1), other)
  end
  local function take_priority(priority)
    local digit = text_of(priority)
    local queue, names, runs, tats, rules, rooms = turns_of(digit), {}, {}, {}, {}, {}
    local open, is_whole, is_simple = 0, false, true
    local function read()
      -- More when those before were of no use.
      local offset = #names
      local count = math.min(200, math.max(left_of() - open, offset))
      local page = reversed(call('LRANGE', queue, -offset - count, -offset - 1))
      local found = #page
      is_whole = found < count
      if found == 0 then return nil end
      local more_runs, more_tats, more_rules, more_rooms = rooms_of(page)
      for i = 1, found do
        local name = page[i]
        if more_rooms[i] > 0 then open = open + 1 else looked = looked + 1 end
        if known[name] then is_simple = false end
        known[name] = true
      end
      if offset == 0 then
        names, runs, tats, rules, rooms = page, more_runs, more_tats, more_rules, more_rooms
        return nil
      end
      for i = 1, found do
        names[offset + i], runs[offset + i], tats[offset + i], rules[offset + i], rooms[offset + i] =
          page[i], more_runs[i], more_tats[i], more_rules[i], more_rooms[i]
      end
    end
    while open < left_of() and not is_whole and looked < ${looksMax} do read() end
    local has_other = has_others and call('EXISTS', LINES[priority + 1]) == 1
    if #names == 0 then return has_other and take_line(LINES[priority + 1]) end
    if is_simple and open == left_of() and not has_other and take_one_each(take_named, digit, names, runs, tats, rules, rooms) then return nil end

    local all, line, is_begun = {}, {}, false
    while left_of() > 0 do
      open = #line
      while open < left_of() and not is_whole and looked < ${looksMax} do read() end
      for i = #all + 1, #names do
        local lane = lane_at(names[i], digit, runs[i], tats[i], rooms[i])
        all[i] = lane
        if lane and lane.room > 0 then line[#line + 1] = lane end
      end
      if not is_begun and has_other then put_among(line, priority, queue) end
      is_begun = true
      if #line == 0 then break end
      while #line > 0 and left_of() > 0 do line = one_round(line, digit) end
    end
    -- Those that had no turn are where they were, and so are all behind them.
    local ready, passing = {}, 0
    for i, lane in ipairs(all) do
      if lane and lane.seen == 0 and lane.room > 0 and lane.rest ~= 0 then break end
      passing = i
      if lane and lane.seen > 0 then trimmed[#trimmed + 1], trimmed[#trimmed + 2] = lane.line, lane.seen
      elseif lane and lane.room <= 0 then put_aside(lane, digit) end
    end
    for _, lane in ipairs(line) do
      if lane.name and lane.seen > 0 then
        ready[#ready + 1] = lane.name
        has_more = true
      end
    end
    for _, other in ipairs(others) do
      if other.at == priority then other.since = other.turn and turns - other.turn or other.since + turns - other.turns end
    end
    returned[#returned + 1], passed[#passed + 1] = { queue, ready }, { queue, passing }
  end
  for priority = 0, 9 do
    if left_of() <= 0 or looked >= ${looksMax} then break end
    take_priority(priority)
  end
end
-- Before the attempts have owners.
local function count_up()
  local runs, tats = run_pairs, tat_pairs
  for name, lane in pairs(lanes) do
    if lane.starts > 0 then
      runs[#runs + 1], runs[#runs + 2] = name, text_of(lane.run + lane.starts)
      if lane.rule and lane.rule.interval then
        tats[#tats + 1], tats[#tats + 2] = arrival_after(lane.tat, lane.rule.interval, lane.rule.burst, lane.starts), name
      end
    end
  end
  if #runs > 2 or next(elsewhere) then many(runs, function(...) call('HSET', RUN, ...) end, 200) end
  for name, count in pairs(elsewhere) do call('HINCRBY', RUN, name, count) end
  if #tats == 0 then return end
  -- What is past says nothing any more: of as many at least as come, so that there are no more than may be of use.
  local past = call('ZRANGE', TAT, '-inf', exact, 'BYSCORE', 'LIMIT', 0, math.max(200, #tats))
  many(past, function(...) call('ZREM', TAT, ...) end, 200)
  many(tats, function(...) call('ZADD', TAT, ...) end, 200)
  call('PEXPIREAT', TAT, string.format('%.0f', math.ceil(call('ZRANGE', TAT, -1, -1, 'WITHSCORES')[2])))
end
-- After that. @param is_uncertain something may have come into a lane since it was looked at
local function leave_lines(is_uncertain)
  local names = 0
  for _, other in ipairs(others) do
    if other.seen > 0 then call('LTRIM', other.line, 0, -other.seen - 1) end
    call('HSET', META, 't' .. other.at, string.format('%.0f', other.since))
  end
  for i = 1, #trimmed, 2 do
    call('LTRIM', trimmed[i], '0', text_of(-trimmed[i + 1] - 1))
    names = names + trimmed[i + 1]
  end
  names = names + leave_one_each()
  for _, each in ipairs(returned) do
    many(each[2], function(...) call('LPUSH', each[1], ...) end, 200)
  end
  if is_uncertain then
    local still = {}
    for _, name in ipairs(emptied) do
      local lane, priority = sub(name, 2), sub(name, 1, 1)
      if call('EXISTS', line_of(lane, priority)) == 0 then still[#still + 1] = name
      else call('LPUSH', turns_of(priority), lane) end
    end
    emptied = still
  end
  write_aside()
  many(emptied, function(...) call('ZREM', LNS, ...) end, 200)
  for _, each in ipairs(passed) do
    if each[2] > 0 then call('LTRIM', each[1], 0, -each[2] - 1) end
  end
  if names > 0 then call('HINCRBY', META, 'laned', -names) end
end
`

export const laneClaim = looking + puttingAside + oneEach + taking + lettingGo
