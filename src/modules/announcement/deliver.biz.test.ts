import { expect, test } from 'bun:test'
import { chatErrors } from '@/core/chat'
import type { Database } from '@/core/database'
import { TaskAborted } from '@/core/queue/task'
import { onEachBacking } from '@/testing/backings'
import { byRoot, useAnnouncements } from '@/testing/chat/announcements'
import { deliveryStore } from './store'

onEachBacking('deliveries of announcements', open => {
  const { used, setUp } = useAnnouncements(open)
  const rowOf = (id: string) => deliveryStore(used.db).get(id, { from: 'primary' })

  /** An announcement that is being sent to one chat. */
  async function one(db: Database = used.db) {
    const made = setUp(db)
    await made.addChats(1)
    const announcementId = await made.begin()
    const [id = ''] = made.enqueued()
    const progress = async () => (await made.biz.get(announcementId)).progress
    return { ...made, announcementId, id, telegram: made.platforms.telegram, progress }
  }

  test('a chat gets the text once, and what the platform calls it is kept', async () => {
    const { biz, id, attempt, telegram, metrics } = await one()
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect(telegram.sent).toEqual([{ chatId: '1', text: 'Hello.' }])
    expect(await rowOf(id)).toMatchObject({ state: 'sent', attempts: 1, messageId: 'message-1' })
    expect(metrics.count('bingo_announcement_deliveries_total', { platform: 'telegram', outcome: 'sent' })).toBe(1)
  })

  test('that it is tried is kept before the platform is asked', async () => {
    const { biz, id, attempt, telegram } = await one()
    let seen: unknown
    telegram.before = async () => {
      seen = await rowOf(id)
    }
    await biz.deliver(id, attempt())
    expect(seen).toMatchObject({ state: 'pending', attempts: 1 })
  })

  test('a busy platform is left alone for as long as it says, and no retry is used up', async () => {
    const { biz, id, attempt, telegram, progress } = await one()
    for (const [retryAfterSeconds, delayMs] of [
      [0.0301, 31],
      [7, 7000],
      [1e12, 86_400_001],
      [undefined, 1000],
    ] as const) {
      telegram.before = async () => {
        throw chatErrors.PlatformBusy(retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
      }
      expect(await biz.deliver(id, attempt({ failures: 20 }))).toEqual({ is: 'snooze', delayMs })
    }
    expect(await progress()).toMatchObject({ pending: 1, failed: 0 })
    telegram.before = async () => {}
    await biz.deliver(id, attempt())
    expect([await progress(), telegram.sent.length]).toMatchObject([{ sent: 1 }, 1])
  })

  test('a platform that is away is tried again, and given up at last', async () => {
    const { biz, id, attempt, telegram, progress, log } = await one()
    telegram.before = async () => {
      throw chatErrors.PlatformUnavailable()
    }
    await expect(biz.deliver(id, attempt())).rejects.toThrow('cannot be reached')
    await expect(biz.deliver(id, attempt({ failures: 19 }))).rejects.toThrow('cannot be reached')
    expect(await progress()).toMatchObject({ pending: 1 })
    expect(await biz.deliver(id, attempt({ failures: 20 }))).toBeUndefined()
    expect(await rowOf(id)).toMatchObject({ state: 'failed', attempts: 3, error: 'Unavailable.PlatformUnavailable' })
    expect(log.lines.at(-1)).toMatchObject({ level: 'warn', message: 'a chat could not be reached, and is given up' })
  })

  test('what may have arrived is tried twice, and is then given up for a reason that says so', async () => {
    const { biz, id, attempt, telegram, progress, log } = await one()
    let asked = 0
    telegram.before = async () => {
      asked++
      throw asked === 1 ? chatErrors.PlatformUnavailable() : chatErrors.PerhapsSent()
    }
    for (const failures of [0, 1]) await expect(biz.deliver(id, attempt({ failures }))).rejects.toThrow()
    expect([await rowOf(id), await progress()]).toMatchObject([{ state: 'pending', unanswered: 1 }, { pending: 1 }])
    for (const failures of [2, 3]) expect(await biz.deliver(id, attempt({ failures }))).toBeUndefined()
    expect(await rowOf(id)).toMatchObject({ state: 'failed', attempts: 3, unanswered: 2, error: 'Unavailable.PerhapsSent' })
    expect([asked, await progress(), log.lines.at(-1)?.level]).toMatchObject([3, { failed: 1 }, 'warn'])
  })

  test('an attempt that takes too long may have arrived', async () => {
    const { biz, id, attempt, telegram } = await one()
    for (const state of ['pending', 'failed']) {
      const controller = new AbortController()
      telegram.before = async () => {
        controller.abort(new TaskAborted('timeout'))
        throw controller.signal.reason
      }
      await biz.deliver(id, attempt({ signal: controller.signal })).catch(() => {})
      expect((await rowOf(id))?.state).toBe(state as never)
    }
    expect(telegram.keys).toEqual([id, id])
  })

  test('what is cancelled, unsubscribed or moved while a message waits for its turn is heeded', async () => {
    const cancelled = await one()
    cancelled.telegram.before = async () => void (await cancelled.biz.cancel(cancelled.announcementId, byRoot))
    expect(await cancelled.biz.deliver(cancelled.id, cancelled.attempt())).toEqual({ is: 'snooze', delayMs: 0 })
    expect(await cancelled.biz.deliver(cancelled.id, cancelled.attempt())).toBeUndefined()
    expect([cancelled.telegram.sent, await rowOf(cancelled.id)]).toMatchObject([[], { state: 'pending' }])
    await cancelled.subscriptions.unsubscribe({ platform: 'telegram', id: '1' })

    const { biz, id, attempt, telegram, subscriptions, progress } = await one()
    telegram.before = async () => subscriptions.moved([{ platform: 'telegram', from: '2', to: '-1002' }])
    await biz.deliver(id, attempt())
    telegram.before = async () => void (await subscriptions.unsubscribe({ platform: 'telegram', id: '-1002' }))
    await biz.deliver(id, attempt())
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect([telegram.sent, await progress()]).toMatchObject([[], { gone: 1 }])
  })

  test('a chat that is gone is told of nothing any more', async () => {
    const { biz, id, attempt, telegram, subscriptions, progress } = await one()
    telegram.before = async () => {
      throw chatErrors.ChatGone()
    }
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect([await subscriptions.count('news'), await progress()]).toMatchObject([0, { gone: 1, pending: 0 }])
  })

  test('a chat that has unsubscribed meanwhile is not told, and the platform is not asked', async () => {
    const { biz, id, attempt, telegram, subscriptions, progress } = await one()
    await subscriptions.unsubscribe({ platform: 'telegram', id: '1' }, 'news')
    await biz.deliver(id, attempt())
    expect([telegram.sent, await progress()]).toMatchObject([[], { gone: 1 }])
    expect(await rowOf(id)).toMatchObject({ attempts: 0 })
  })

  test('a group that has moved meanwhile is told where it is now', async () => {
    const { biz, id, attempt, telegram, subscriptions } = await one()
    await subscriptions.moved([{ platform: 'telegram', from: '1', to: '-1001' }])
    await biz.deliver(id, attempt())
    expect(telegram.sent).toMatchObject([{ chatId: '-1001' }])
  })

  test('what the platform refuses is not tried again', async () => {
    const { biz, id, attempt, telegram } = await one()
    telegram.before = async () => {
      throw chatErrors.MessageRefused()
    }
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect(await rowOf(id)).toMatchObject({ state: 'failed', error: 'InvalidArgument.MessageRefused' })
  })

  test('a platform whose token is refused is waited for; one that is off is not', async () => {
    const { biz, id, attempt, telegram, progress } = await one()
    telegram.before = async () => {
      throw chatErrors.PlatformOff()
    }
    telegram.is = { is: 'failed', why: 'the token is wrong' }
    expect(await biz.deliver(id, attempt())).toEqual({ is: 'snooze', delayMs: 60_000 })
    telegram.is = { is: 'off' }
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect(await progress()).toMatchObject({ failed: 1 })
  })

  test('an attempt that is told to end leaves it to the next', async () => {
    const { biz, id, attempt, telegram, progress } = await one()
    const controller = new AbortController()
    telegram.before = async () => {
      controller.abort(new TaskAborted('shutdown'))
      throw new Error('aborted')
    }
    await expect(biz.deliver(id, attempt({ signal: controller.signal, failures: 20 }))).rejects.toThrow('aborted')
    expect(await progress()).toMatchObject({ pending: 1, failed: 0 })
  })

  test('of two at the same delivery one asks the platform', async () => {
    // All have seen the same before the first says that it tries.
    const all = Promise.withResolvers<void>()
    let waiting = Number.NEGATIVE_INFINITY
    const slow: Database = {
      ...used.db,
      async run(sql, params) {
        waiting++
        if (waiting === 3) all.resolve()
        if (waiting <= 3 && waiting > 0) await all.promise
        return used.db.run(sql, params)
      },
    }
    const { biz, id, attempt, telegram } = await one(slow)
    waiting = 0
    const results = await Promise.all([biz.deliver(id, attempt()), biz.deliver(id, attempt()), biz.deliver(id, attempt())])
    expect(telegram.sent).toHaveLength(1)
    for (const result of results) expect(result ?? { is: 'snooze', delayMs: 5000 }).toEqual({ is: 'snooze', delayMs: 5000 })
    expect(await rowOf(id)).toMatchObject({ state: 'sent', attempts: 1 })
  })

  test('one whose process has died in the middle is tried again', async () => {
    const { biz, id, attempt, telegram } = await one()
    const died = new Promise<never>(() => {})
    const stuck = Promise.withResolvers<void>()
    telegram.before = () => {
      stuck.resolve()
      return died
    }
    void biz.deliver(id, attempt())
    await stuck.promise
    telegram.before = async () => {}
    await biz.deliver(id, attempt())
    expect(await rowOf(id)).toMatchObject({ state: 'sent', attempts: 2 })
  })

  test('a database that is away for a moment after the message does not have it sent twice', async () => {
    let isAway = 0
    const flaky: Database = {
      ...used.db,
      async run(sql, params) {
        if (isAway > 0 && isAway-- > 0) throw new Error('away')
        return used.db.run(sql, params)
      },
    }
    const { biz, id, attempt, telegram } = await one(flaky)
    telegram.before = async () => {
      isAway = 2
    }
    expect(await biz.deliver(id, attempt())).toBeUndefined()
    expect([isAway, telegram.sent.length, (await rowOf(id))?.state]).toEqual([0, 1, 'sent'])
  })
})
