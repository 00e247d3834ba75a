import { keptIdMs } from '../../driver'

/** The record of a group outlives it by so much. Who finds it asks whether the task is there still. */
const slackMs = 1000

/**
 * A part of the script that enqueues: tasks that collect others. `g:<key>` says which task of a key may be joined, as
 * `<id> <count> <bytes> <until> <start>`. It may be wrong, so nothing is added but to a task that is scheduled for that very start, which
 * is to come, and has never been started: any other of the same id has another.
 *
 * Each prefix of the writes is safe, and so is all of it once more. An envelope is there before its id is remembered: half of a join is
 * done again, and who reads the group drops the line that is there twice. What is full is named by its line first, which means nothing while it is
 * scheduled for later.
 */
export const collecting = `
local rules, groups, collected, opened = {}, {}, {}, 0
local sooner = {}
local function rule_of(word)
  if not rules[word] then
    local key, count, bytes, delay, longest = string.match(word, '^(%S+) (%d+) (%d+) (%d+) (%d+)$')
    rules[word] = { key = key, count = tonumber(count), bytes = tonumber(bytes), delay = tonumber(delay), longest = tonumber(longest) }
  end
  return rules[word]
end
-- The group that may be joined.
local function group_of(key)
  if groups[key] == nil then
    groups[key] = false
    local id, count, bytes, till, start = string.match(call('GET', B .. 'g:' .. key) or '', '^(%S+) (%d+) (%d+) (%d+) (%d+)$')
    if id and tonumber(start) > now and call('ZSCORE', SCH, id) == start and not call('ZSCORE', ACT, id)
      and call('EXISTS', B .. 's:' .. id) == 0 and call('EXISTS', B .. 'e:' .. id) == 1 then
      local group = { id = id, key = key, count = tonumber(count), bytes = tonumber(bytes), till = tonumber(till), start = tonumber(start) }
      group.before, group.lines, group.kept = group.start, {}, {}
      collected[#collected + 1], groups[key] = group, group
    end
  end
  return groups[key]
end
-- It waits behind those that were said before it.
local function close(group)
  group.is_full, groups[group.key] = true, false
  local first = group.first
  local head = first and first.kind .. hex(now) .. first.rest or head_of(group.id)
  local priority, flags = sub(head, 1, 1), sub(head, 2, 2)
  waiting[priority] = waiting[priority] or {}
  if flags >= '4' then put_in_lane(group.id, priority, sub(head, 14), 1) else table.insert(waiting[priority], group.id) end
end
-- @returns the id of the group when it was there
local function collect(id, kind, rest, word)
  local rule, from = rule_of(word), 1
  if kind.lane_at then from = 3 + tonumber(sub(rest, 1, 2), 16) end
  local size = #rest - from + 1
  local group = group_of(rule.key)
  if group and group.bytes + size > rule.bytes then
    close(group)
    group = false
  end
  local joined = group and group.id
  if group then
    group.lines[#group.lines + 1] = sub(rest, from)
    if kind.is_kept then group.kept[#group.kept + 1] = id end
  else
    group = { id = id, key = rule.key, count = 0, bytes = 0, till = now + rule.longest, lines = {}, kept = {} }
    group.first = { size = size, start = now + rule.delay, kind = kind.start, rest = rest }
    collected[#collected + 1], groups[rule.key] = group, group
    opened = opened + 1
  end
  group.count, group.bytes, group.start = group.count + 1, group.bytes + size, math.min(now + rule.delay, group.till)
  if group.count >= rule.count or group.bytes >= rule.bytes or group.start <= now then close(group) end
  return joined
end
local function note_group(group, count, bytes, start)
  local text = string.format('%s %d %.0f %.0f %.0f', group.id, count, bytes, group.till, start)
  call('SET', B .. 'g:' .. group.key, text, 'PX', group.till - now + ${slackMs})
end
local function open_group(group, entry)
  local first = group.first
  note_group(group, 1, first.size, first.start)
  call('ZADD', SCH, first.start, group.id)
  call('SET', entry, first.kind .. hex(first.start) .. first.rest)
  sooner[group.id] = true
end
local function keep_groups()
  for _, group in ipairs(collected) do
    local entry = B .. 'e:' .. group.id
    if group.first then open_group(group, entry) end
    if #group.lines > 0 then call('APPEND', entry, '\\n' .. table.concat(group.lines, '\\n')) end
    for _, id in ipairs(group.kept) do call('SET', B .. 'd:' .. id, '', 'PX', ${keptIdMs}) end
    if group.is_full then
      call('SETRANGE', entry, 2, hex(now))
      call('DEL', B .. 'g:' .. group.key)
      call('ZREM', SCH, group.id)
    elseif #group.lines > 0 then
      call('SETRANGE', entry, 2, hex(group.start))
      call('ZADD', SCH, group.start, group.id)
      note_group(group, group.count, group.bytes, group.start)
      if group.before and group.start < group.before then sooner[group.id] = true end
    end
  end
  if opened > 0 then call('HINCRBY', META, 'enqueued', opened) end
  local first = next(sooner) and call('ZRANGE', SCH, 0, 0)[1]
  if first and sooner[first] then call('PUBLISH', CHANNEL, '') end
end
`
