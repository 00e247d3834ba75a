/**
 * So many lanes one claim looks at for nothing, since their limits hold them back or they are empty. It puts them aside, so that the next finds
 * others; until then nothing of a lesser priority is taken.
 */
export const looksMax = 300
/** So many are let go on by one claim, each for the reason that it was put aside. */
const letGoMax = 200

/** Claimers of two versions, as during a deploy, let lanes go that the other has put aside no more often than this. */
const betweenLimitsMs = 5000

/** A part of the script that claims: lanes that were put aside come back, and whether any may be claimed from is found out. */
export const letGo = `
-- Those whose time has come; and, when the limits are others than those by which lanes were put aside, these, some with each claim.
local function let_go_in_time(known)
  limits_known = known
  local due = call('ZRANGE', PARK, '-inf', exact, 'BYSCORE', 'LIMIT', 0, ${letGoMax})
  if #due > 0 then
    let_go(due, call('HMGET', BLK, unpack(due)))
    call('ZREM', PARK, unpack(due))
  end
  local before, since, cursor, is_mixed = string.match(known or '', '^(%S+) (%d+) ([%d-]+)(!?)$')
  if before ~= version or (cursor == '-' and is_mixed ~= '') then
    local age = since and now - since or -1
    if age >= 0 and age < ${betweenLimitsMs} then
      if call('EXISTS', BLK) == 1 then look_again = since + ${betweenLimitsMs} end
      return
    end
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
  limits_known = version .. ' ' .. since .. ' ' .. (page[1] == '0' and '-' or page[1]) .. is_mixed
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

-- Whether a claim now would get something from a lane. Those of which it would not are put aside.
local function is_any_lane_ready()
  if has_more then return true end
  if (room > 0 and not has_lanes) or call('EXISTS', LNS) == 0 then return false end
  if not has_turns() then let_go_idle() end
  if rules_said == '' then return has_turns() end
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
      looked, count = looked + #names, 200
      if looked >= ${looksMax} then return has_turns() end
    end
  end
  return false
end
`
