import { redisScript } from '../../../redis'
import { shared, whenFull } from './shared'

/**
 * ARGV: lease in ms; id, attempt and nonce of each. Returns the ids that are lost, and those that are cancelled. A task that its hash
 * says is its owner's, but that was lost from the set, comes back into it.
 */
export const beatScript = redisScript(`${whenFull}${shared}
local lost, cancelled, leases, lease = {}, {}, {}, now + ARGV[1]
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  local h = call('HMGET', B .. 's:' .. id, 'a', 'k', 'c')
  if h[1] == ARGV[i + 1] and h[2] == ARGV[i + 2] then
    leases[#leases + 1] = lease
    leases[#leases + 1] = id
    if h[3] then cancelled[#cancelled + 1] = id end
  else
    lost[#lost + 1] = id
  end
end
many(leases, function(...) call('ZADD', ACT, 'GT', ...) end, 200)
return { lost, cancelled }
`)
