import { redisScript } from '../../../redis'
import { shared, whenFull } from './shared'

/**
 * ARGV: lease in ms; id and `attempt:nonce` of each. Returns the ids that are lost, and those that are cancelled. A task that has an
 * owner, but was lost from the set, comes back into it.
 */
export const beatScript = redisScript(`${whenFull}${shared}
local lost, cancelled, leases, ids, hash_keys, lease = {}, {}, {}, {}, {}, now + ARGV[1]
for i = 2, #ARGV, 2 do
  ids[i / 2] = ARGV[i]
  hash_keys[i / 2] = B .. 's:' .. ARGV[i]
end
for from = 1, #ids, 200 do
  local to = math.min(from + 199, #ids)
  local owners = call('HMGET', OWN, unpack(ids, from, to))
  local has_hashes = call('EXISTS', unpack(hash_keys, from, to)) > 0
  for i = from, to do
    local owner, held = owners[i - from + 1], ARGV[2 * i + 1] .. ' '
    if owner and sub(owner, 1, #held) == held then
      leases[#leases + 1] = lease
      leases[#leases + 1] = ids[i]
      if has_hashes and call('HEXISTS', hash_keys[i], 'c') == 1 then cancelled[#cancelled + 1] = ids[i] end
    else
      lost[#lost + 1] = ids[i]
    end
  end
end
many(leases, function(...) call('ZADD', ACT, 'GT', ...) end, 200)
return { lost, cancelled }
`)
