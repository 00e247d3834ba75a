import { expect } from 'bun:test'
import { besideMysql, testOn } from '../backings'
import { startBingo } from '../bingo'
import { newServiceKey } from '../clients'
import { newSignUp, send } from '../http-client'
import { say, startReplication } from '../replication'
import { type OwnServer, type Server, sharedServer } from '../servers'

const startedWithinMs = 60_000

testOn(
  ['mariadb', 'redis'],
  'a process with replicas reads from them, stays ready without the primary, and stops when told to',
  async () => {
    const servers = await startReplication('mariadb', 1)
    const { primary } = servers
    const [replica] = servers.replicas as [OwnServer]
    try {
      await say(primary, 'create database shop')
      await servers.caughtUp(replica)
      const redis = (await sharedServer('redis')) as Server
      const env = {
        BINGO_DATABASE_URL: `${primary.url}/shop`,
        BINGO_DATABASE_REPLICA_URLS: `${replica.url}/shop`,
        ...besideMysql(redis),
      }
      const bingo = await startBingo({ env, args: ['--migrate'] })
      const users = `${bingo.url}/api/v1/users`
      const service = await newServiceKey({ url: env.BINGO_DATABASE_URL })
      const made = await send('POST', users, newSignUp())
      expect(made.status).toBe(201)
      await servers.caughtUp(replica)
      // A list, since a user by id is answered by a copy.
      expect((await service.send<{ items: unknown[] }>('GET', users)).body.items).toHaveLength(1)
      const metrics = await (await fetch(`${bingo.ops}/metrics`)).text()
      expect(metrics).toMatch(/^bingo_database_replicas_well 1$/m)
      expect(metrics).toMatch(/^bingo_database_reads_total\{target="replica"\} [1-9]/m)

      await primary.kill()
      expect((await service.send('GET', users)).status).toBe(200)
      expect((await send('POST', users, newSignUp())).status).toBe(503)
      expect((await fetch(`${bingo.ops}/readyz`)).status).toBe(200)
      expect(await bingo.stop()).toBe(0)
      expect(bingo.log.filter(({ msg }) => msg === 'a replica is not read')).toEqual([])
    } finally {
      await servers.stop()
    }
  },
  startedWithinMs,
)
