const claimer = `
local worker, nonce, wanted = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2] or 0)`

/** Of a claim that says none. */
export const plainLimits = `${claimer}
local room, unfilled, taken = 0, 0, 0
`

/**
 * What a claim says it may take, and how much of a rate is left.
 *
 * A rate is one number, the theoretical arrival time of the next start in ms: the generic cell rate algorithm, see `RateLimit`. Time is that
 * of the server, with its microseconds. A time that a rate never says, since it was another one or the clock was ahead, counts as the latest that
 * it does.
 */
export const limits = `${claimer}
local cap, interval, burst = tonumber(ARGV[at + 7] or ''), tonumber(ARGV[at + 8] or ''), tonumber(ARGV[at + 9] or '')
local version, rules_said = ARGV[at + 10] or '-', ARGV[at + 11] or ''
local exact = clock[1] * 1000 + clock[2] / 1000
local rules, has_rates
-- Of a lane, if any, by what it begins with.
local function rule_of(lane)
  if not rules then
    rules = {}
    for name, most, every, at_once in string.gmatch(rules_said, '(%S+) (%S+) (%S+) (%S+) ') do
      rules[name] = { cap = tonumber(most), interval = tonumber(every), burst = tonumber(at_once) }
      has_rates = has_rates or every ~= '-'
    end
  end
  local slash = string.find(lane, '/', 1, true)
  return rules[slash and sub(lane, 1, slash - 1) or lane]
end
local function arrival_of(tat, interval, burst) return math.max(exact, math.min(tat or 0, exact + burst * interval)) end
-- The thousandth is what is lost when such numbers are subtracted.
local function tokens_of(tat, interval, burst)
  return math.max(0, burst - math.ceil((arrival_of(tat, interval, burst) - exact) / interval - 0.001))
end
local function next_start_of(tat, interval, burst) return arrival_of(tat, interval, burst) - (burst - 1) * interval end
local function arrival_after(tat, interval, burst, starts) return arrival_of(tat, interval, burst) + starts * interval end
-- What a claim finds out.
local is_letting_go = false
local queue_tat, room, has_lanes, unfilled, taken = tonumber(m[2] or nil), 0, false, 0, 0
`
