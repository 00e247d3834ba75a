import { afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import type { Database } from '@/core/database'
import { onEachBacking } from '@/testing/backings'
import { eventually } from '@/testing/eventually'
import { failure } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { type FakeTelegram, startTelegram } from '@/testing/chat/fake-telegram'
import { telegramApi } from './api'
import { createPolling } from './polling'

setDefaultTimeout(60_000)

onEachBacking('asking Telegram', open => {
  const scene = useMigrated(open, ['chatPlatform'])
  let telegram: FakeTelegram
  let running: { end: () => Promise<unknown> }[] = []
  beforeEach(async () => {
    telegram = await startTelegram()
  })
  afterEach(async () => {
    for (const { end } of running) await end()
    running = []
    await telegram.close()
  })

  const times = { leaseMs: 3000, renewEveryMs: 300, tryEveryMs: 50 }

  function poller(db: Database = scene.db, clock = systemClock, token = telegram.token) {
    const got: number[] = []
    const log = fakeLog()
    const stopping = new AbortController()
    const handOver = async (updates: readonly { update_id: number }[]) => void got.push(...updates.map(({ update_id: id }) => id))
    const work = createPolling({ api: telegramApi(token, telegram.url), db, clock, log, handOver, times }).run(stopping.signal)
    work.catch(() => {})
    const end = () => {
      stopping.abort(new Error('the test is over'))
      return work.catch(() => {})
    }
    running.push({ end })
    return { got, log, end, work, asks: () => log.lines.filter(({ message }) => message === 'asks Telegram for what is new').length }
  }

  test('of two one asks; when it stops the other does at once, and is not told again', async () => {
    const [first, second] = [poller(), poller()]
    await eventually(() => first.asks() + second.asks() === 1)
    const [busy, idle] = first.asks() === 1 ? [first, second] : [second, first]
    const update = telegram.say('/a')
    await eventually(() => busy.got.length === 1)
    // Longer than the lease: it is renewed.
    await Bun.sleep(times.leaseMs + 500)
    telegram.say('/b')
    await eventually(() => busy.got.length === 2)
    expect([idle.got, idle.asks()]).toEqual([[], 0])
    const stoppedAtMs = performance.now()
    await busy.end()
    await eventually(() => idle.asks() === 1)
    expect(performance.now() - stoppedAtMs).toBeLessThan(times.leaseMs)
    const last = telegram.say('/c')
    await eventually(() => idle.got.length > 0)
    expect(idle.got).toEqual([last.update_id])
    expect(busy.got[0]).toBe(update.update_id)
    expect([...busy.log.lines, ...idle.log.lines].filter(({ level }) => level === 'warn')).toEqual([])
  })

  test('when the one that asks is gone without a word, another does when its lease is over, and not before', async () => {
    const gone = poller({ ...scene.db, run: scene.db.run.bind(scene.db), first: scene.db.first.bind(scene.db) })
    await eventually(() => gone.asks() === 1)
    await gone.end()
    // As a process that was killed leaves it.
    const dead = Math.floor(Date.now() + times.leaseMs)
    await scene.db.run('update "chatPlatform" set "pollerId" = ?, "pollUntilMs" = ?', ['dead', dead])
    const next = poller()
    await eventually(() => next.asks() === 1)
    expect(Date.now()).toBeGreaterThanOrEqual(dead - 100)
    expect(Date.now()).toBeLessThan(dead + 2000)
  })

  test('one whose lease was taken stops asking', async () => {
    const first = poller()
    await eventually(() => first.asks() === 1)
    await telegram.until(() => telegram.of('getUpdates').length === 1)
    await scene.db.run('update "chatPlatform" set "pollerId" = ?, "pollUntilMs" = ?', ['other', Date.now() + 3_600_000])
    const asked = () => telegram.of('getUpdates').filter(({ payload }) => payload['timeout'] !== 0).length
    await eventually(() => telegram.of('getUpdates').every(({ endedAtMs }) => endedAtMs !== undefined), times.leaseMs)
    const before = asked()
    telegram.say('/a')
    await Bun.sleep(1000)
    expect([first.got, asked()]).toEqual([[], before])
  })

  test('goes by the clock of the database, whatever that of the machine says', async () => {
    if (scene.db.dialect.name === 'sqlite') return // There is one machine, and its clock.
    const late = poller(scene.db, { nowMs: () => Date.now() - 3_600_000 })
    await eventually(() => late.asks() === 1)
    const early = poller(scene.db, { nowMs: () => Date.now() + 3_600_000 })
    await Bun.sleep(times.leaseMs + 500)
    expect([late.asks(), early.asks()]).toEqual([1, 0])
  })

  test('while the database is away nobody asks longer than a lease, and it goes on when it is back', async () => {
    let isAway = false
    const away = async () => {
      throw new Error('the database is away')
    }
    const flaky = new Proxy(scene.db, {
      get: (db, name) => (isAway && (name === 'run' || name === 'first') ? away : Reflect.get(db, name)),
    })
    const first = poller(flaky)
    await eventually(() => first.asks() === 1)
    isAway = true
    await eventually(() => telegram.of('getUpdates').every(({ endedAtMs }) => endedAtMs !== undefined), times.leaseMs + 3000)
    await eventually(() => first.log.lines.some(({ message }) => message === 'whether another process asks Telegram is not known'))
    isAway = false
    await eventually(() => first.asks() === 2)
    const update = telegram.say('/a')
    await eventually(() => first.got.length === 1)
    expect(first.got).toEqual([update.update_id])
  })

  test('somebody else with the same token is said once, and does not end it', async () => {
    const first = poller()
    await eventually(() => first.asks() === 1)
    await telegram.until(() => telegram.of('getUpdates').length === 1)
    const other = telegramApi(telegram.token, telegram.url)
    await other.call('getUpdates', { timeout: 0 }, AbortSignal.timeout(5000))
    await telegram.until(() => telegram.of('getUpdates').some(({ status }) => status === 409))
    telegram.say('/a')
    await eventually(() => first.got.length === 1)
    expect(first.log.lines.filter(({ level }) => level === 'warn').length).toBe(1)
  })

  test('a webhook that somebody has set meanwhile is removed', async () => {
    const first = poller()
    await eventually(() => first.asks() === 1)
    await telegram.until(() => telegram.of('getUpdates').length === 1)
    await telegramApi(telegram.token, telegram.url).call('setWebhook', { url: 'https://x.example.com' }, AbortSignal.timeout(5000))
    await telegram.until(() => telegram.of('deleteWebhook').length > 1)
    const update = telegram.say('/a')
    await eventually(() => first.got.includes(update.update_id))
  })

  test('ends with the refusal of the token, and lets others ask', async () => {
    const first = poller(scene.db, systemClock, '1:wrong')
    expect(await failure(first.work)).toBe(401 as never)
    const second = poller()
    await eventually(() => second.asks() === 1, times.leaseMs - 1000)
  })
})
