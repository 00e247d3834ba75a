import { expect } from 'bun:test'
import { openBacking, testOn } from '../backings'
import { startBingo } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { newServiceKey } from '../clients'
import { newSignUp, send } from '../http-client'
import { startOwn } from '../servers'

testOn(
  ['mariadb', 'redis'],
  'a process is ready and answers without Redis, uses it once it is there, and stops with and without it',
  async () => {
    await using redis = await startOwn('redis')
    await redis.kill()
    const backing = await openBacking('mariadb')
    if (!backing) throw new Error('MariaDB is not on this machine')
    const env = { ...backing.options.env, BINGO_REDIS_URL: redis.url.replace('redis://', 'redis://default:canary-password@') }
    const bingo = await startBingo({ ...backing.options, env })
    const says = (msg: string) => bingo.log.some(line => line.msg === msg)
    const metrics = async () => (await fetch(`${bingo.ops}/metrics`)).text()

    await until(() => says('Redis cannot be reached'))
    expect((await fetch(`${bingo.ops}/readyz`)).status).toBe(200)
    const made = await send('POST', `${bingo.url}/api/v1/users`, newSignUp())
    expect(made.status).toBe(201)
    expect(await metrics()).toContain('bingo_cache_breaker_state 0')

    await redis.start()
    await until(() => says('Redis is back'))
    redis.pause()
    expect((await (await newServiceKey(backing)).send('GET', `${bingo.url}/api/v1/users`)).status).toBe(200)
    expect((await fetch(`${bingo.ops}/readyz`)).status).toBe(200)

    const beganMs = performance.now()
    expect(await bingo.stop()).toBe(0)
    expect(performance.now() - beganMs).toBeLessThan(3000)
    expect(JSON.stringify(bingo.log) + bingo.stderr()).not.toContain('canary-password')
    await backing.dispose()
  },
)
