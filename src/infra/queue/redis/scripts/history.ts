import { historyMax, historyMs, snapshotEveryMs } from '../../driver'

/**
 * `hist` is a list of `<ms> <totals>|<what was seen since>`, newest at the left. What is handed in is added to the newest, until that is
 * ten seconds old.
 */
export const history = `
local HIST, totals = B .. 'hist', { 'enqueued', 'done', 'failed', 'crashed', 'dead', 'cancelled' }
local function add_seen(seen, from)
  local sums, words = {}, {}
  for what, by in string.gmatch(seen .. ' ' .. from, '(%l%d+):(%d+)') do sums[what] = (sums[what] or 0) + by end
  for what, by in pairs(sums) do words[#words + 1] = string.format('%s:%.0f', what, by) end
  return table.concat(words, ' ')
end
local function look(seen)
  local newest = call('LINDEX', HIST, 0)
  local since, before, seen_before = string.match(newest or '', '^(%d+)( [%d ]*)|(.*)$')
  -- A clock that was set back begins anew.
  local age = since and now - since or -1
  if age >= 0 and age < ${snapshotEveryMs} then
    if seen ~= '' then call('LSET', HIST, 0, since .. before .. '|' .. add_seen(seen_before, seen)) end
    return
  end
  local counted = call('HMGET', META, unpack(totals))
  for i = 1, #totals do counted[i] = counted[i] or 0 end
  call('LPUSH', HIST, string.format('%.0f ', now) .. table.concat(counted, ' ') .. '|' .. seen)
  call('LTRIM', HIST, 0, ${historyMax - 1})
  call('PEXPIRE', HIST, ${2 * historyMs})
end
`
