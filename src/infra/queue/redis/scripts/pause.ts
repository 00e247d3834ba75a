import { redisScript } from '../../../redis'
import { laneKeys } from './lanes'
import { lines, shared, whenFull } from './shared'

/** ARGV: 1 to pause, 0 to resume. A claim looks; whoever is idle is told that it may go on, and when what is scheduled is due. */
export const pauseScript = redisScript(`${whenFull}${shared}${lines}${laneKeys}
if ARGV[1] == '1' then return call('HSET', META, 'paused', 1) end
if call('HDEL', META, 'paused') == 0 then return 0 end
if (call('EXISTS', unpack(LINES)) > 0 or has_turns()) and call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, 1) end
call('PUBLISH', CHANNEL, '')
return 1
`)
