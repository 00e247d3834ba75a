import { redisScript } from '../redis'
import { unknownVersion } from './timing'

/**
 * What is kept under a key is one text: the version, the server's time until which it is fresh and from which it is renewed in
 * milliseconds, and the data. Data begins with its kind: `n` there is no such row, `v` the value, `s` the value encrypted, `f`
 * nothing but the version, below which nothing is kept. Where the key was forgotten that version is unknown.
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
local unknown = ${unknownVersion}
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
 * Returns a hit `{1, version, data, ms left, whether to renew it under the token}`, or a miss: `{2, version, data}` when the lease
 * is taken, `{3, …}` when another has it, `{4, …}` when there is none to have; with what is known of the row, or empty words.
 */
export const readScript = redisScript(`${shared}
local function lease()
  local reply = redis.pcall('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
  if type(reply) == 'table' and reply.err then return 4 end
  return reply and 2 or 3
end
local kept = parse(redis.call('GET', KEYS[1]))
if not kept then return { lease(), '', '' } end
local at, version = now(), string.format('%.0f', kept.version)
if at >= kept.fresh then return { lease(), version, string.sub(kept.data, 1, 1) } end
local is_mine = at >= kept.renew and lease() == 2
return { 1, version, kept.data, string.format('%.0f', kept.fresh - at), is_mine and 1 or 0 }
`)

/**
 * Ends a lease, and fills when it was held to the end. KEYS entry, lease. ARGV token, lease ms, pause ms, and unless nothing was
 * found: version, life ms, renew ms, data. Returns 1 when it filled. When it did not, what is there is not renewed again before the
 * pause.
 */
export const fillScript = redisScript(`${shared}
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
-- What was loaded is as old as its lease, whatever has held up the load or this script.
local age = ARGV[2] - redis.call('PTTL', KEYS[2])
redis.call('DEL', KEYS[2])
local kept = parse(redis.call('GET', KEYS[1]))
local function fill()
  if not ARGV[4] then return false end
  local version, life, renew, data = tonumber(ARGV[4]), ARGV[5] - age, ARGV[6] - age, ARGV[7]
  if life < 1 then return false end
  if not kept then return keep(KEYS[1], version, data, life, renew, 0) end
  -- What is absent has no version; what was known of the row stays known.
  if string.sub(data, 1, 1) == 'n' then version = math.max(version, kept.version)
  elseif kept.version ~= unknown and is_older(version, kept) then return false end
  return keep(KEYS[1], version, data, life, renew, redis.call('PTTL', KEYS[1]))
end
if fill() then return 1 end
if kept then
  local text = string.format('%.0f %.0f %.0f ', kept.version, kept.fresh, now() + ARGV[3]) .. kept.data
  redis.pcall('SET', KEYS[1], text, 'KEEPTTL')
end
return 0
`)

/**
 * KEYS entry and lease of each key. ARGV channel, message, how long versions are remembered in ms, and four for each key: version,
 * life ms, renew ms, data. An empty version forgets the key. What is older than what is kept changes nothing but the lease.
 */
export const writeScript = redisScript(`${shared}
for i = 1, #KEYS / 2 do
  local key, at = KEYS[2 * i - 1], 4 * i
  redis.call('DEL', KEYS[2 * i])
  local version, kept = tonumber(ARGV[at]), parse(redis.call('GET', key))
  if kept and kept.version == unknown then version = nil end
  if not version or not kept or not is_older(version, kept) then
    redis.call('DEL', key)
    local remembered = tonumber(ARGV[3])
    if version then keep(key, version, ARGV[at + 3], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), remembered)
    else keep(key, unknown, 'f', 0, 0, remembered) end
  end
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
`)
