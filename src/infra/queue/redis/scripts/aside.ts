/**
 * So many lanes one claim looks at for nothing, since their limits hold them back or they are empty. It puts them aside, so that the next finds
 * others; until then nothing of a lesser priority is taken.
 */
export const looksMax = 300
/** Claimers of two versions, as during a deploy, let lanes go that the other has put aside no more often than this. Limits that are new do so at once. */
const betweenLimitsMs = 5000
/** So many are let go on by one claim, each for the reason that it was put aside. */
const letGoMax = 200

/** Lanes whose limits let none start: they are in `blk` until one of theirs ends, their time has come, or somebody claims under other limits. */
export const puttingAside = `
-- What is said of limits, and when lanes that others have put aside may be let go, if it is not time for that.
local limits_known, look_again
local aside, digits_aside = {}, {}
local function put_aside(lane, priority)
  aside[lane.name], digits_aside[lane.name] = lane, (digits_aside[lane.name] or '') .. priority
end
-- It is empty.
local function take_back(name, priority)
  local digits = string.gsub(digits_aside[name] or '', priority, '')
  if digits == '' then aside[name], digits_aside[name] = nil, nil else digits_aside[name] = digits end
end
-- Before they leave their queues.
local function write_aside()
  local names, digits, parked, held, tats = {}, {}, {}, {}, {}
  for name, lane in pairs(aside) do
    names[#names + 1], digits[#digits + 1] = name, digits_aside[name]
    if not (lane.rule.cap and lane.run + lane.starts >= lane.rule.cap) then
      local tat = lane.starts > 0 and arrival_after(lane.tat, lane.rule.interval, lane.rule.burst, lane.starts) or lane.tat
      -- Kept, or the latest that its rate says would move on with the clock.
      local latest = arrival_of(tat, lane.rule.interval, lane.rule.burst)
      if tat and latest < tat then tats[#tats + 1], tats[#tats + 2] = latest, lane.name end
      parked[#parked + 1], parked[#parked + 2] = next_start_of(tat, lane.rule.interval, lane.rule.burst), lane.name
    end
  end
  if #names == 0 then return end
  local is_any = call('EXISTS', BLK) == 1
  limits_known = limits_known or call('HGET', META, 'limits')
  if not is_any or not limits_known then
    local before, previous, since = string.match(limits_known or '', '^(%S+) (%S+) (%d+) ')
    if before and before ~= version then previous = before end
    limits_known = version .. ' ' .. (previous or '.') .. ' ' .. (since or '0') .. ' -'
    call('HSET', META, 'limits', limits_known)
  elseif sub(limits_known, 1, #version + 1) ~= version .. ' ' and sub(limits_known, -1) ~= '!' then
    -- Whoever has others lets these go when it is time for that.
    limits_known = limits_known .. '!'
    call('HSET', META, 'limits', limits_known)
  end
  for from = 1, #names, 200 do
    local to = math.min(from + 199, #names)
    local before = is_any and call('HMGET', BLK, unpack(names, from, to)) or {}
    for i = from, to do
      local others = string.gsub(string.match(before[i - from + 1] or '', '%d*$'), '[' .. digits[i] .. ']', '')
      held[2 * i - 1], held[2 * i] = names[i], version .. ' ' .. others .. digits[i]
    end
  end
  many(tats, function(...) call('ZADD', TAT, ...) end, 200)
  many(parked, function(...) call('ZADD', PARK, ...) end, 200)
  many(held, function(...) call('HSET', BLK, ...) end, 200)
  aside, digits_aside = {}, {}
end
`

export const lettingGo = `
-- Those whose time has come; and, when the limits are others than those by which lanes were put aside, these, some with each claim.
local function let_go_in_time(known)
  limits_known = known
  local due = call('ZRANGE', PARK, '-inf', exact, 'BYSCORE', 'LIMIT', 0, ${letGoMax})
  if #due > 0 then
    let_go(due, call('HMGET', BLK, unpack(due)))
    call('ZREM', PARK, unpack(due))
  end
  local before, previous, since, cursor, is_mixed = string.match(known or '', '^(%S+) (%S+) (%d+) ([%d-]+)(!?)$')
  if before ~= version or (cursor == '-' and is_mixed ~= '') then
    local age, is_known = since and now - since or -1, before == version or previous == version
    if is_known and age >= 0 and age < ${betweenLimitsMs} then
      if call('EXISTS', BLK) == 1 then look_again = since + ${betweenLimitsMs} end
      return
    end
    if before ~= version then previous = before or '.' end
    since, cursor, is_mixed = string.format('%.0f', now), '0', ''
  end
  if cursor == '-' or call('EXISTS', BLK) == 0 then return end
  local page = call('HSCAN', BLK, cursor, 'COUNT', ${letGoMax})
  local some, values = {}, {}
  for i = 1, #page[2], 2 do
    if sub(page[2][i + 1], 1, #version + 1) ~= version .. ' ' then
      some[#some + 1], values[#values + 1] = page[2][i], page[2][i + 1]
    end
  end
  let_go(some, values)
  many(some, function(...) call('ZREM', PARK, ...) end, 200)
  is_letting_go = page[1] ~= '0'
  limits_known = version .. ' ' .. previous .. ' ' .. since .. ' ' .. (page[1] == '0' and '-' or page[1]) .. is_mixed
  call('HSET', META, 'limits', limits_known)
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

-- Whether a claim now would get something from a lane. Those of which it would not are put aside, or forgotten when they are empty.
local function is_any_lane_ready()
  if has_more or is_letting_go then return true end
  if (room > 0 and not has_lanes) or call('EXISTS', LNS) == 0 then return false end
  if not has_turns() then let_go_idle() end
  for priority = 0, 9 do
    local count = 4
    while true do
      local digit = text_of(priority)
      local queue, empty = turns_of(digit), {}
      local names = reversed(call('LRANGE', queue, -count, -1))
      if #names == 0 then break end
      local runs, tats, rules, rooms = rooms_of(names)
      for i, room in ipairs(rooms) do
        local is_empty = call('EXISTS', line_of(names[i], digit)) == 0
        if room > 0 and not is_empty then return true end
        if is_empty then empty[#empty + 1] = digit .. names[i]
        else put_aside({ name = names[i], run = runs[i] or 0, starts = 0, tat = tonumber(tats[i] or nil), rule = rules[i] }, digit) end
      end
      write_aside()
      many(empty, function(...) call('ZREM', LNS, ...) end, 200)
      call('LTRIM', queue, 0, -#names - 1)
      looked, count = looked + #names, 200
      if looked >= ${looksMax} then return has_turns() end
    end
  end
  return false
end
`
