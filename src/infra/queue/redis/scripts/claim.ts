import { only, type Variant } from './shared'

/** One claim takes no more tasks when their envelopes have so many bytes together: the rest is for the next. */
const claimBytesMax = 4 * 1024 * 1024

/**
 * Those that a list names, from its right. What is elsewhere too, or named twice, or has no envelope, is only dropped from the list.
 * Where a task belongs its hash says; whether it is there, its set.
 *
 * The limits of the claimer, when it has any: how many may be active, the interval and the burst of the queue's rate, a name for the limits
 * of lanes, and those: `<name> <concurrency or -> <interval or -> <burst or -> ` of each. Nothing says them but the claims.
 */
export const claimOf = ({ isRich }: Variant): string => `
local claimed = {}
if wanted > 0 then

local function again(record)
  for id in string.gmatch(record, '%S+') do
    local held, owner_nonce = string.match(call('HGET', OWN, id) or '', '^(%d+):(%S+) ')
    local entry = owner_nonce == nonce and call('ZSCORE', ACT, id) and call('GET', B .. 'e:' .. id)
    if entry then
      local h = call('HMGET', B .. 's:' .. id, 'f', 'x')
      claimed[#claimed + 1] = id
      claimed[#claimed + 1] = entry
      claimed[#claimed + 1] = held .. ' ' .. (h[1] or 0) .. ' ' .. (h[2] or 0)
    end
  end
end

-- What is due goes to the end of its line, a hundred with each claim: neither waits for the other's backlog.
local function promote()
  local due = call('ZRANGE', SCH, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
  if #due == 0 then return end
  local lines = {}
  for _, id in ipairs(due) do
    local start = call('GETRANGE', B .. 'e:' .. id, 0, 1)
    local priority = sub(start, 1, 1)
    ${only(
      isRich,
      `local lane = sub(start, 2) > '3' and lane_of(marks_of(head_of(id))) or nil
    if lane then
      wait_last(id, priority, lane)
    else`,
    )}if priority ~= '' then
      lines[priority] = lines[priority] or {}
      table.insert(lines[priority], id)
    else
      forget_void(id)
    end
  end
  for priority, line in pairs(lines) do call('LPUSH', B .. 'p' .. priority, unpack(line)) end
  flush()
  call('ZREM', SCH, unpack(due))
end

local function take(lease, life, keeps_nothing_too)
  local now_hex, first_owner = hex(now), '1:' .. nonce .. ' 0 ' .. worker
  ${only(isRich, `local first_in_lane, by_worker = '1:' .. nonce .. ' 4', ' ' .. worker`)}
  local seen, record, owners, leases, trims, cancelled, void, revived = {}, {}, {}, {}, {}, {}, {}, {}
  local left, looks, bytes, portion = room, room + 1000, 0, 50
  local function consider(id, entry, has_hashes${only(isRich, ', lane')})
    if not entry then
      void[#void + 1] = id
      return
    end
    local attempt, failures, crashes, ready = 1, false, false, sub(entry, 3, 13)
    if has_hashes then
      local h = call('HMGET', B .. 's:' .. id, 'a', 'f', 'x', 'r', 'c', 'z', 'n')
      ${only(
        isRich,
        `-- One that is held is named here from an earlier life.
      if h[7] and not h[4] then return end
      if h[7] then unheld[#unheld + 1] = id end`,
      )}
      if h[5] then
        cancelled[#cancelled + 1] = { id, marks_of(entry) }
        return
      end
      if h[6] and h[6] ~= '' then
        if call('ZSCORE', DEAD, id) or call('ZSCORE', DONE, id) then return end
        revived[#revived + 1] = id
      end
      attempt, failures, crashes, ready = (h[1] or 0) + 1, h[2], h[3], h[4] or ready
    end
    if ready > now_hex and call('ZSCORE', SCH, id) then return end
    local n = #record + 1
    record[n] = id
    claimed[3 * n - 2], claimed[3 * n - 1] = id, entry
    leases[2 * n - 1], leases[2 * n] = lease, id
    owners[2 * n - 1] = id
    if attempt == 1 and not failures and not crashes then
      claimed[3 * n] = '1 0 0'
    else
      claimed[3 * n] = string.format('%d %s %s', attempt, failures or '0', crashes or '0')
    end
    local flags = sub(entry, 2, 2)
    if attempt == 1 and flags == '0' then
      owners[2 * n] = first_owner
    ${only(
      isRich,
      `elseif lane and attempt == 1 and flags == '4' and sub(entry, 16, 15 + #lane) == lane then
      owners[2 * n] = first_in_lane .. sub(entry, 14, 15 + #lane) .. by_worker`,
    )}
    else
      local marks = marks_of(entry)
      owners[2 * n] = string.format('%d:%s %s %s', attempt, nonce, marks, worker)
      ${only(
        isRich,
        `local own, other = flags > '3' and lane_of(marks) or nil, lane or nil
      -- A hand may have put it into another line.
      if own ~= other then
        if own then elsewhere[own] = (elsewhere[own] or 0) + 1 end
        if other then elsewhere[other] = (elsewhere[other] or 0) - 1 end
      end`,
      )}
    end
    left, bytes = left - 1, bytes + #entry
    return true
  end
  -- Those of all the names, with what is needed to consider them.
  local function examine(named, first, last)
    local entry_keys, hash_keys = {}, {}
    for i = first, last do
      entry_keys[i - first + 1] = B .. 'e:' .. named[i]
      hash_keys[i - first + 1] = B .. 's:' .. named[i]
    end
    return call('MGET', unpack(entry_keys)), call('ZMSCORE', ACT, unpack(named, first, last)), call('EXISTS', unpack(hash_keys)) > 0
  end
  local function adapt(found)
    looks = looks - found
    if bytes > ${claimBytesMax} then looks = 0 end
    portion = math.max(1, math.min(200, math.floor(${claimBytesMax} * #record / math.max(bytes, 1))))
    if #record == 0 then portion = 200 end
  end
  local function take_line(line)
    local seen_here = 0
    while left > 0 and looks > 0 do
      local named = call('LRANGE', line, -seen_here - math.min(left, portion), -seen_here - 1)
      local found = #named
      if found == 0 then break end
      local entries, leased, has_hashes = examine(named, 1, found)
      for i = found, 1, -1 do
        local id = named[i]
        if not seen[id] and not leased[i] then
          seen[id] = true
          consider(id, entries[i], has_hashes)
        end
      end
      seen_here = seen_here + found
      adapt(found)
    end
    if seen_here > 0 then trims[#trims + 1] = { line, seen_here } end
  end
${only(
  isRich,
  `  -- Of lines that take turns. @param lanes of each the lane it is from, or false. @param saw is told of each there was time for
  local function take_named(named, lanes, saw)
    local at = 1
    while at <= #named and left > 0 and looks > 0 do
      local last = math.min(at + portion - 1, #named)
      local entries, leased, has_hashes = examine(named, at, last)
      for i = at, last do
        local id, is_taken = named[i], false
        if not seen[id] and not leased[i - at + 1] then
          seen[id] = true
          is_taken = consider(id, entries[i - at + 1], has_hashes, lanes[i])
        end
        saw(lanes[i], is_taken, i)
      end
      adapt(last - at + 1)
      at = last + 1
    end
  end`,
)}
  if left > 0 then
    ${only(
      isRich,
      `if has_lanes then
      take_turns(take_line, take_named, function() return looks > 0 and left or 0 end)
    else`,
    )}if call('EXISTS', unpack(LINES)) > 0 then
      -- Who is idle finds them all empty, with one look.
      for priority = 1, 10 do
        take_line(LINES[priority])
        if left <= 0 or looks <= 0 then break end
      end
    end
  end

  ${only(isRich, 'if has_lanes or next(elsewhere) then count_up() end')}
  many(owners, function(...) call('HSET', OWN, ...) end, 200)
  many(leases, function(...) call('ZADD', ACT, ...) end, 200)
  if #record > 0 or keeps_nothing_too then call('SET', B .. 'cl:' .. nonce, table.concat(record, ' '), 'PX', life) end
  for _, id in ipairs(revived) do call('HSET', B .. 's:' .. id, 'z', '') end
  begin_anew()
  for _, each in ipairs(cancelled) do
    ${only(isRich, `tell_follower(each[1], each[2], 'c')`)}
    forget(each[1], each[2], true)
    count('cancelled')
  end
  for _, id in ipairs(void) do forget_void(id) end
  flush()
  for _, each in ipairs(trims) do call('LTRIM', each[1], 0, -each[2] - 1) end
  ${only(isRich, 'if has_lanes then leave_lines(#cancelled > 0) end')}
  taken = #record
end

  if ARGV[at + 6] ~= '' then call('DEL', B .. 'cl:' .. ARGV[at + 6]) end
  local record = call('GET', B .. 'cl:' .. nonce)
  if record then
    again(record)
  else
    room = is_paused and 0 or wanted
    ${only(
      isRich,
      `if cap then room = math.max(0, math.min(room, cap - call('ZCARD', ACT))) end
    if interval then
      -- Kept, or the latest that it says would move on with the clock.
      local latest = queue_tat and arrival_of(queue_tat, interval, burst)
      if latest and latest < queue_tat then
        queue_tat = latest
        call('HSET', META, 'tat', string.format('%.4f', queue_tat))
      end
      room = math.min(room, tokens_of(queue_tat, interval, burst))
    end`,
    )}
    if room > 0 then
      promote()
      ${only(
        isRich,
        `has_lanes = call('EXISTS', LNS) == 1
      if has_lanes then let_go_in_time(m[3]) end`,
      )}
    end
    -- As text, since each number that is said to Redis is made into one.
    take(string.format('%.0f', now + ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5] == '1')
    ${only(
      isRich,
      `tell_next()
    if interval and taken > 0 then
      queue_tat = arrival_after(queue_tat, interval, burst, taken)
      call('HSET', META, 'tat', string.format('%.4f', queue_tat))
    end`,
    )}
    unfilled = wanted - taken
  end
end
`

/** Who claims nothing knows of no limits: what waits may be started by somebody. */
export const whatIsNextOf = ({ isRich }: Variant): string => `
local due = -1
-- @returns in how many ms something may start as far as its own time and lane go
local function next_due()
  if call('EXISTS', unpack(LINES)) > 0 then return 0 end
  ${only(isRich, `if wanted > 0 and is_any_lane_ready() or wanted == 0 and has_turns() then return 0 end`)}
  local first = call('ZRANGE', SCH, 0, 0, 'WITHSCORES')[2]
  first = first and first - now
  ${only(
    isRich,
    `local parked = (has_lanes or room == 0) and call('ZRANGE', PARK, 0, 0, 'WITHSCORES')[2]
  parked = parked and parked - exact
  if look_again then parked = math.min(parked or look_again - exact, look_again - exact) end
  if first and parked then return math.min(first, parked) end
  if parked then return parked end`,
  )}
  return first
end
if not is_paused${only(isRich, ` and not (wanted > 0 and cap and call('ZCARD', ACT) >= cap)`)} then
  local wait = next_due()
  ${only(isRich, 'if wait and interval then wait = math.max(wait, next_start_of(queue_tat, interval, burst) - exact) end')}
  if wait then due = math.max(0, math.ceil(wait)) end
  if due == 0 then
    wake()
  elseif unfilled > 0 then
    call('DEL', WAKE)
  ${only(
    isRich,
    `elseif wanted > 0 and due > 0 and (interval or call('EXISTS', PARK) == 1) then
    -- Whoever is idle is to learn when a rate lets something start, since this claimer may have no room then.
    wake()`,
  )}
  end
end
`
