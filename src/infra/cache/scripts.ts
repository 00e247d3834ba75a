import { redisScript } from '../redis'

/**
 * What is kept under a key is one text: the version, the server's time until which it is fresh and from which it is renewed in
 * milliseconds, and the data. Data begins with its kind: `n` there is no such row, `v` the value, `s` the value encrypted, `f`
 * nothing but the version, below which nothing is kept.
 *
 * The lease is beside it. Times are those of the server, the one clock that all processes share.
 */
const shared = `
local function parse(text)
  if not text then return nil end
  local version, fresh, renew, data = string.match(text, '^(%d+) (%d+) (%d+) (.*)$')
  return version and { version = tonumber(version), fresh = tonumber(fresh), renew = tonumber(renew), data = data }
end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Of one version, removed is the later.
local function is_older(version, kept)
  return version < kept.version or (version == kept.version and string.sub(kept.data, 1, 1) == 'n')
end
-- A server that is full refuses: then nothing is kept, which is always right.
local function keep(key, version, data, life, renew, remembered)
  local at = now()
  local text = string.format('%.0f %.0f %.0f ', version, at + life, at + renew) .. data
  local reply = redis.pcall('SET', key, text, 'PX', string.format('%.0f', math.max(life, remembered, 1)))
  return type(reply) ~= 'table' or not reply.err
end
`

/**
 * KEYS entry, lease. ARGV token, lease ms.
 * Returns a hit `{1, version, ms left, data, whether to renew it under the token}`, `{2}` when the lease is taken, `{3}` when
 * another has it, `{4}` when there is none to have.
 */
export const readScript = redisScript(`${shared}
local function lease()
  local reply = redis.pcall('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
  if type(reply) == 'table' and reply.err then return 4 end
  return reply and 2 or 3
end
local kept = parse(redis.call('GET', KEYS[1]))
if kept then
  local at = now()
  if at < kept.fresh then
    local mine = at >= kept.renew and lease() == 2
    return { 1, string.format('%.0f', kept.version), string.format('%.0f', kept.fresh - at), kept.data, mine and 1 or 0 }
  end
end
return { lease() }
`)

/**
 * Ends a lease, and fills when it was held to the end. KEYS entry, lease. ARGV token, version, life ms, renew ms, data; without
 * data nothing is filled. Returns 1 when it was.
 */
export const fillScript = redisScript(`${shared}
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
local life, data = tonumber(ARGV[3]), ARGV[5]
if not data or life < 1 then return 0 end
local version, remembered = tonumber(ARGV[2]), 0
local kept = parse(redis.call('GET', KEYS[1]))
if kept then
  if string.sub(data, 1, 1) ~= 'n' and is_older(version, kept) then return 0 end
  -- What is absent has no version; what was known of the row stays known.
  version = math.max(version, kept.version)
  remembered = redis.call('PTTL', KEYS[1])
end
return keep(KEYS[1], version, data, life, tonumber(ARGV[4]), remembered) and 1 or 0
`)

/**
 * KEYS entry and lease of each key. ARGV channel, message, how long versions are remembered in ms, and four for each key: version,
 * life ms, renew ms, data. An empty version forgets the key. What is older than what is kept changes nothing but the lease.
 */
export const writeScript = redisScript(`${shared}
for i = 1, #KEYS / 2 do
  local key, at = KEYS[2 * i - 1], 4 * i
  redis.call('DEL', KEYS[2 * i])
  local version = tonumber(ARGV[at])
  local kept = version and parse(redis.call('GET', key))
  if not (kept and is_older(version, kept)) then
    redis.call('DEL', key)
    if version then keep(key, version, ARGV[at + 3], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[3])) end
  end
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
`)
