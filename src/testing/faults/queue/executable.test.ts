import { expect } from 'bun:test'
import { type BackingName, openBacking, testOn } from '../../backings'
import { type BingoOptions, runBingo, startBingo, temporaryFolder } from '../../bingo'
import { gate, until } from '../../conformance/cache-fixture'
import { newSignUp, send } from '../../http-client'
import { parseMail, startMailServer } from '../../smtp'
import { isFull } from '../scene'

/** The executable as it ships, killed and stopped while a mail server that is slow has its message. */
const leaseMs = isFull ? 30_000 : 1000
const redeliveryMaxMs = isFull ? 40_000 : leaseMs * 1.25 + 2000
const deadlineMs = 3000
/** A machine with other work is slow to start and to end a process. */
const marginMs = 3000
const testTimeoutMs = 120_000
const backings: readonly BackingName[] = isFull ? ['sqlite', 'mariadb', 'mysql'] : ['mariadb']

for (const name of backings) {
  testOn(
    name === 'sqlite' ? [] : [name, 'redis'],
    `The scheduler on ${name} is killed while it sends a message: another sends it again, and on SIGTERM it is given back`,
    async () => {
      const backing = await openBacking(name)
      if (!backing) throw new Error(`${name} cannot be had`)
      using folder = temporaryFolder()
      const { open, passed } = gate()
      let isSlow = true
      const mail = await startMailServer({ confirms: () => (isSlow ? passed : Promise.resolve()) })
      const env = {
        ...backing.options.env,
        BINGO_MAIL_URL: mail.url,
        BINGO_QUEUE_LEASE_MS: String(leaseMs),
        BINGO_QUEUE_TIMEOUT_MS: String(Math.min(2000, Math.floor(leaseMs / 3))),
        BINGO_SHUTDOWN_DRAIN_MS: '0',
        BINGO_SHUTDOWN_DEADLINE_MS: String(deadlineMs),
      }
      const options: BingoOptions = { ...backing.options, env, cwd: folder.path }
      const api = await startBingo(options)
      const start = () => startBingo({ ...options, roles: 'scheduler' })
      const stats = async () => JSON.parse((await runBingo(['task', 'stats', '--queue=mail', '--json'], options)).stdout)

      const first = await start()
      const signUp = newSignUp()
      expect((await send('POST', `${api.url}/api/v1/users`, signUp)).status).toBe(201)
      await until(() => mail.received.length === 1, 10_000)
      const second = await start()
      const beganMs = performance.now()
      await first.stop('SIGKILL')
      await until(() => mail.received.length === 2, redeliveryMaxMs + marginMs)
      const redeliveredMs = Math.round(performance.now() - beganMs)

      // Nobody waits for what does not end: it is given back, and sent by the next.
      const stoppedMs = performance.now()
      expect(await second.stop('SIGTERM')).toBe(0)
      const tookMs = Math.round(performance.now() - stoppedMs)
      expect(second.log.filter(({ level }) => level === 'error')).toEqual([])
      isSlow = false
      const third = await start()
      await until(() => mail.received.length === 3, marginMs)
      await until(async () => (await stats()).total.done === 1)
      expect(await stats()).toMatchObject({ waiting: 0, scheduled: 0, active: 0, dead: 0, total: { failed: 0, crashed: 1, dead: 0 } })
      expect((await runBingo(['task', 'fsck'], options)).code).toBe(0)
      expect(mail.received.map(({ to }) => to)).toEqual(Array(3).fill([signUp.email]))
      // Each attempt brings another code, which makes the one before void: they are messages of their own, and the last one counts.
      expect(new Set(mail.received.map(({ source }) => parseMail(source).headers.get('message-id')?.[0])).size).toBe(3)
      expect(redeliveredMs).toBeLessThan(redeliveryMaxMs)
      expect(tookMs).toBeLessThan(deadlineMs + marginMs)
      if (isFull) console.log(`${name}, executable: sent again ${redeliveredMs} ms after SIGKILL, given back ${tookMs} ms after SIGTERM`)
      expect(await Promise.all([api.stop(), third.stop()])).toEqual([0, 0])
      open()
      await mail.close()
      await backing.dispose()
    },
    testTimeoutMs,
  )
}
