import { ownWritesMs, type WritePositions, type Written } from '@/core/caller'
import { type RedisConnection, redisScript } from '../../redis'
import { laterWrite } from './position'

/** What an actor's request waits for Redis at most; when it is not told, the primary is read. */
const limitMs = 50
/** Writes of one actor that are remembered at a time; which is the latest is said by their positions, not by their arrival. */
const writesMax = 8

const note = redisScript(`
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ${writesMax - 1})
return redis.call('PEXPIRE', KEYS[1], ${ownWritesMs})`)

/** The last writes of the actors of all processes, in Redis. */
export function sharedWritePositions(connection: RedisConnection): WritePositions {
  const keyOf = (actor: string) => `bingo:written:${actor}`
  return {
    async note(actor, written) {
      // Away or slow: then the actor may for a moment not see its write elsewhere. The write itself is done.
      await connection.run(limitMs, note, [keyOf(actor)], [JSON.stringify(written)]).catch(() => {})
    },
    async of(actor) {
      const noted = (await connection.call(limitMs, 'LRANGE', keyOf(actor), 0, -1)) as string[]
      const [first, ...others] = noted.map(text => JSON.parse(text) as Written)
      return first && others.reduce(laterWrite, first)
    },
  }
}
