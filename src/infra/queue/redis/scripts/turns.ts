import { runFiller } from './lanes'

/** So many lanes one claim looks at. What their limits hold back it puts aside, so that who has more asks again and finds others. */
const looksMax = 1000
/** So many are let go on by one claim, each for the reason that it was put aside. */
const letGoMax = 200
/** Without a limit. */
const endless = 1e9

/**
 * What a claim knows of a lane: name, run (how many are active), room (how many it may start yet), starts (those of this claim), and its rule and
 * tat, if any; of the priority that is its turn: at (which), line, seen (names of it), rest (how many it has yet, as far as that is
 * known; -1 before it was asked).
 * It is as small as can be, since there are as many as tasks are claimed.
 */
const looking = `
local lanes, aside, elsewhere, has_more = {}, {}, {}, false
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
-- @param names in the order of their turns. @returns their lanes, false for one that is there twice
local function look(names, priority)
  local some, lines = {}, line_of('', priority)
  rule_of('')
  local runs = call('HMGET', RUN, unpack(names))
  local tats = has_rates and call('ZMSCORE', TAT, unpack(names))
  for i, name in ipairs(names) do
    local lane = lanes[name]
    if not lane then
      lane = { name = name, run = tonumber(runs[i] or 0), room = ${endless}, starts = 0, at = priority, line = lines .. name, seen = 0, rest = -1 }
      local rule = rules_said ~= '' and rule_of(name)
      if rule then
        lane.rule = rule
        if rule.cap then lane.room = rule.cap - lane.run end
        if rule.interval then
          lane.tat = tonumber(tats[i] or nil)
          lane.room = math.min(lane.room, tokens_of(lane.tat, rule.interval, rule.burst))
        end
      end
      lanes[name] = lane
    elseif lane.at ~= priority then
      lane.at, lane.line, lane.seen, lane.rest = priority, lines .. name, 0, -1
    else
      -- A torn log has left two of them.
      lane = false
    end
    some[i] = lane
  end
  return some
end
local function reversed(names)
  local some = {}
  for i = #names, 1, -1 do some[#some + 1] = names[i] end
  return some
end
local function put_aside(lane, priority)
  aside[lane] = (aside[lane] or '') .. priority
end
-- Before they leave their queues.
local function write_aside()
  local names, digits, parked, held = {}, {}, {}, {}
  for lane, priorities in pairs(aside) do
    names[#names + 1], digits[#digits + 1] = lane.name, priorities
    if not (lane.rule.cap and lane.run + lane.starts >= lane.rule.cap) then
      local tat = lane.starts > 0 and arrival_after(lane.tat, lane.rule.interval, lane.rule.burst, lane.starts) or lane.tat
      parked[#parked + 1], parked[#parked + 2] = next_start_of(tat, lane.rule.interval, lane.rule.burst), lane.name
    end
  end
  if #names == 0 then return end
  local is_any = call('EXISTS', BLK) == 1
  for from = 1, #names, 200 do
    local to = math.min(from + 199, #names)
    local before = is_any and call('HMGET', BLK, unpack(names, from, to)) or {}
    for i = from, to do
      local others = string.gsub(string.match(before[i - from + 1] or '', '%d*$'), '[' .. digits[i] .. ']', '')
      held[2 * i - 1], held[2 * i] = names[i], version .. ' ' .. others .. digits[i]
    end
  end
  many(parked, function(...) call('ZADD', PARK, ...) end, 200)
  many(held, function(...) call('HSET', BLK, ...) end, 200)
  aside = {}
end
`

/**
 * Lanes of one priority take turns, one task each, those without a lane among them as one more; who was served is behind all others then. A lane
 * that may not start any is put aside (`blk`).
 */
const taking = `
local trimmed, emptied, returned, passed, others = {}, {}, {}, {}, {}
local function take_turns(take_line, take_named, left_of)
  local looked, turns, has_others = 0, 0, call('EXISTS', unpack(LINES)) > 0
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
    local named, from, count = {}, {}, 0
    if portion == 1 then
      for i = 1, served do
        local lane = line[i]
        local seen = lane.seen
        local id = call('LINDEX', lane.line, seen == 0 and '-1' or text_of(-seen - 1))
        lane.rest = id and call('LLEN', lane.line) - seen or 0
        if id then
          count = count + 1
          named[count], from[count] = id, lane
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
            named[count], from[count] = lists[i][#lists[i] - depth + 1], line[i]
          end
        end
      end
    end
    take_named(named, from, saw)
    local following, n = {}, length - served
    for i = 1, n do following[i] = line[served + i] end
    for i = 1, served do
      local lane = line[i]
      if lane.rest == 0 then
        if lane.name then emptied[#emptied + 1] = priority .. lane.name end
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
    if not has_others or call('EXISTS', LINES[priority + 1]) == 0 then return nil end
    local since = tonumber(call('HGET', META, 't' .. priority) or nil)
    local other = { at = priority, line = LINES[priority + 1], room = ${endless}, seen = 0, turns = turns, since = since or 0, rest = -1 }
    others[#others + 1] = other
    table.insert(line, math.min(#line + 1, since and math.max(1, call('LLEN', queue) - since + 1) or 1), other)
  end
  local function take_priority(priority)
    local digit, line, all, offset, is_whole, is_begun = text_of(priority), {}, {}, 0, false, false
    local queue = turns_of(digit)
    while left_of() > 0 do
      while #line < left_of() and not is_whole and looked < ${looksMax} do
        local count = math.min(200, left_of() - #line)
        local names = reversed(call('LRANGE', queue, -offset - count, -offset - 1))
        is_whole = #names < count
        for i, lane in ipairs(#names > 0 and look(names, digit) or {}) do
          all[offset + i] = lane
          if lane and lane.room > 0 then line[#line + 1] = lane end
        end
        offset, looked = offset + #names, looked + #names
      end
      if #line == 0 then
        if not is_begun and has_others then take_line(LINES[priority + 1]) end
        break
      end
      if not is_begun then put_among(line, priority, queue) end
      is_begun = true
      while #line > 0 and left_of() > 0 do line = one_round(line, digit) end
    end
    if offset == 0 then return end
    -- Those that had no turn are where they were, and so are all behind them.
    local ready, passing = {}, 0
    for i = 1, offset do
      local lane = all[i]
      if lane and lane.seen == 0 and lane.room > 0 and lane.rest ~= 0 then break end
      passing = i
      if lane and lane.seen > 0 then trimmed[#trimmed + 1], trimmed[#trimmed + 2] = lane.line, lane.seen
      elseif lane and lane.room <= 0 then put_aside(lane, digit) end
    end
    for _, lane in ipairs(line) do
      if lane.name and lane.seen > 0 then ready[#ready + 1] = lane.name end
      if lane.name then has_more = true end
    end
    for _, other in ipairs(others) do
      if other.at == priority then other.since = other.turn and turns - other.turn or other.since + turns - other.turns end
    end
    returned[#returned + 1] = { queue, ready }
    passed[#passed + 1] = { queue, passing }
  end
  for priority = 0, 9 do
    if left_of() <= 0 then break end
    take_priority(priority)
  end
end
-- Before the attempts have owners.
local function count_up()
  local runs, tats = { '${runFiller}', 0 }, {}
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

const lettingGo = `
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
    if sub(page[2][i + 1], 1, #version + 1) ~= version .. ' ' then
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
  if has_more then return true end
  if (room > 0 and not has_lanes) or call('EXISTS', LNS) == 0 then return false end
  if not has_turns() then let_go_idle() end
  if rules_said == '' then return has_turns() end
  local looked = 0
  for priority = 0, 9 do
    local count = 4
    while true do
      local digit = text_of(priority)
      local queue = turns_of(digit)
      local names = reversed(call('LRANGE', queue, -count, -1))
      if #names == 0 then break end
      for _, lane in ipairs(look(names, 'again' .. digit)) do
        if lane and lane.room > 0 then return true end
        if lane then put_aside(lane, digit) end
      end
      write_aside()
      call('LTRIM', queue, 0, -#names - 1)
      looked, count = looked + count, 200
      if looked >= ${looksMax} then return true end
    end
  end
  return false
end
`

export const laneClaim = looking + taking + lettingGo
