/**
 * What most claims are where there are many lanes: at least as many may start something as tasks are claimed, so that each starts one. It does what
 * turns.ts does in general, with as little as can be for each task.
 */
export const oneEach = `
local singles = {}
-- @param names in the order of their turns, and of each what is known of it
-- @returns whether it has: not when operators have emptied one of them, so that another may start something instead
local function take_one_each(take_named, priority, names, runs, tats, rules, rooms)
  local lines, count, done = line_of('', priority), 0, 0
  local ids, of, places, pairs_said = {}, {}, {}, #run_pairs
  for i = 1, #names do
    if rooms[i] > 0 then
      local name = names[i]
      count = count + 1
      local id = call('LINDEX', lines .. name, '-1')
      if not id then return false end
      ids[count], of[count], places[count] = id, name, i
    end
  end
  local taken = {}
  local function saw(name, is_taken)
    done = done + 1
    taken[done] = is_taken
    if is_taken then
      begun[name] = 1
      run_pairs[pairs_said + 1], run_pairs[pairs_said + 2] = name, text_of((runs[places[done]] or 0) + 1)
      pairs_said = pairs_said + 2
    end
  end
  take_named(ids, of, saw)
  -- Those that there was no time for are where they were, and so are all behind them.
  local passing, ready, went_on = done < count and places[done + 1] - 1 or #names, {}, 0
  local at = 1
  for i = 1, passing do
    local starts, room, rule = 0, rooms[i], rules[i]
    if places[at] == i then
      starts = taken[at] and 1 or 0
      at = at + 1
      if starts > 0 and rule and rule.interval then
        tat_pairs[#tat_pairs + 1], tat_pairs[#tat_pairs + 2] = arrival_after(tonumber(tats[i] or nil), rule.interval, rule.burst, 1), names[i]
      end
    end
    if room > starts then
      went_on = went_on + 1
      ready[went_on] = names[i]
    else
      put_aside({ name = names[i], run = runs[i] or 0, starts = starts, tat = tonumber(tats[i] or nil), rule = rule }, priority)
    end
  end
  singles[#singles + 1] = { lines = lines, priority = priority, names = of, count = done, ready = ready }
  passed[#passed + 1] = { turns_of(priority), passing }
  return true
end
-- @returns how many names have left their lines
local function leave_one_each()
  local left = 0
  for _, each in ipairs(singles) do
    local lines, names, ready, keys = each.lines, each.names, each.ready, {}
    for i = 1, each.count do
      local line = lines .. names[i]
      keys[i] = line
      call('RPOP', line)
    end
    left = left + each.count
    local there = 0
    many(keys, function(...) there = there + call('EXISTS', ...) end, 200)
    if there < each.count then
      -- Few are empty as a rule, so that they are not asked one by one.
      local is_empty, still = {}, {}
      for i = 1, each.count do
        if call('EXISTS', keys[i]) == 0 then
          is_empty[names[i]] = true
          emptied[#emptied + 1] = each.priority .. names[i]
        end
      end
      for _, name in ipairs(ready) do
        if not is_empty[name] then still[#still + 1] = name end
      end
      for name in pairs(is_empty) do take_back(name, each.priority) end
      ready = still
    end
    if #ready > 0 then has_more = true end
    returned[#returned + 1] = { turns_of(each.priority), ready }
  end
  return left
end
`
