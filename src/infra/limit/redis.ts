import { type RedisConnection, redisScript } from '../redis'
import type { Ledger, Span } from './ledger'

/** The same as in memory.ts, by the clock of the server, which is one for all. */
const leaseScript = redisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, want, bucketMs, keptMs = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local back, backBucket = tonumber(ARGV[5]), tonumber(ARGV[6])
local bucket = math.floor(now / bucketMs)
local first = math.floor((now - keptMs) / bucketMs)
local sum, oldest = 0, bucket
local used = redis.call('HGETALL', KEYS[1])
for i = 1, #used, 2 do
  local at, count = tonumber(used[i]), tonumber(used[i + 1])
  if at < first then
    redis.call('HDEL', KEYS[1], used[i])
  else
    if back > 0 and at == backBucket then
      count = math.max(0, count - back)
      redis.call('HSET', KEYS[1], used[i], count)
    end
    sum = sum + count
    if count > 0 and at < oldest then oldest = at end
  end
end
local granted = math.max(0, math.min(want, limit - sum))
if granted > 0 then
  redis.call('HINCRBY', KEYS[1], string.format('%d', bucket), granted)
  redis.call('PEXPIRE', KEYS[1], keptMs + 2 * bucketMs)
end
return { granted, bucket, math.max(0, limit - sum - granted), (oldest + 1) * bucketMs + keptMs - now }
`)

/** The ledger of all processes that share a Redis. It throws when Redis does not answer in time. */
export function redisLedger(connection: RedisConnection, prefix: string, span: Span, timeoutMs: number): Ledger {
  const keptMs = span.windowMs + span.leaseMs
  return {
    async lease(key, limit, want, back) {
      const args = [limit, want, span.bucketMs, keptMs, back?.count ?? 0, back?.bucket ?? 0]
      const reply = await connection.run(timeoutMs, leaseScript, [`${prefix}:rate:${key}`], args)
      const [granted = 0, bucket = 0, remaining = 0, freedInMs = 0] = reply as number[]
      return { granted, bucket, remaining, freedInMs }
    },
  }
}
