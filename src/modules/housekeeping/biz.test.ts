import { describe, expect, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import { TaskAborted } from '@/core/queue/task'
import type { Tokens } from '@/core/tokens'
import type { Upkeep } from '@/core/upkeep'
import { createUpkeep } from '@/infra/upkeep'
import { userExportStore } from '@/modules/user-export/store'
import { onEachBacking } from '@/testing/backings'
import { fakeLog } from '@/testing/fakes'
import { useExports } from '@/testing/user-exports'
import { type Attempt, housekeepingBiz } from './biz'

function newAttempt(signal = new AbortController().signal) {
  const log = fakeLog()
  const said: unknown[] = []
  const attempt: Attempt = { signal, log, progress: far => void said.push(far.done) }
  return { attempt, log, said }
}

const none = async () => 0
const tokens = { rotate: async () => {} } as Tokens
const nothing: Upkeep = { removeGivenUp: none, removeUndeclared: none, cutHistory: none, removeAnswers: none, forgetGuesses: none }

describe('sweeps', () => {
  /** A place where so much is left, of which each batch takes so long. */
  function setUp(left: number, batchMs = 0) {
    const clock = { ms: 0, nowMs: () => clock.ms }
    const asked: number[] = []
    const removeLeft = async (countMax: number) => {
      asked.push(countMax)
      clock.ms += batchMs
      const some = Math.min(left, countMax)
      left -= some
      return some
    }
    return {
      biz: housekeepingBiz({
        clock,
        upkeep: nothing,
        tokens,
        sessions: { removeEnded: none },
        userCodes: { removeExpired: none },
        apiKeys: { removeExpired: none },
        auditEvents: { removeOld: none, logHead: async () => {} },
        announcements: { removeOld: none },
        chatLinkRecords: { removeExpired: none },
        chatUpdates: { removeOld: none },
        subscriptions: { removeEmpty: none },
        userExports: { removeLeft },
      }),
      asked,
    }
  }

  test('go on for as long as there is more, say how far they are, and then what they have done', async () => {
    const { biz, asked } = setUp(25)
    const { attempt, log, said } = newAttempt()
    expect(await biz.sweepExports(attempt)).toBeUndefined()
    expect([asked, said]).toEqual([
      [10, 10, 10],
      [10, 20, 25],
    ])
    expect(log.lines).toMatchObject([{ level: 'info', fields: { what: 'exports of users', removed: 25, isMore: false } }])
  })

  test('say nothing where nothing is left', async () => {
    const { biz, asked } = setUp(0)
    const { attempt, log } = newAttempt()
    expect([await biz.sweepExports(attempt), asked, log.lines]).toEqual([undefined, [10], []])
  })

  test('give their place back after a while, and go on when it is their turn again', async () => {
    const { biz, asked } = setUp(50, 15_000)
    const { attempt } = newAttempt()
    const slices = [await biz.sweepExports(attempt), await biz.sweepExports(attempt), await biz.sweepExports(attempt)]
    expect(slices).toEqual([{ is: 'snooze', delayMs: 0 }, { is: 'snooze', delayMs: 0 }, undefined])
    expect(asked).toHaveLength(6)
  })

  test('end midway when they are told to', async () => {
    const { biz, asked } = setUp(Number.POSITIVE_INFINITY)
    const controller = new AbortController()
    const { attempt } = newAttempt(controller.signal)
    const progress = () => void (asked.length === 3 && controller.abort(new TaskAborted('shutdown')))
    await expect(biz.sweepExports({ ...attempt, progress })).rejects.toThrow(TaskAborted)
    expect(asked).toHaveLength(3)
  })

  test('do no more than so many batches in a slice, should they cost no time', async () => {
    const { biz, asked } = setUp(Number.POSITIVE_INFINITY)
    expect(await biz.sweepExports(newAttempt().attempt)).toEqual({ is: 'snooze', delayMs: 0 })
    expect(asked).toHaveLength(1000)
  })
})

onEachBacking('sweeps of a house', open => {
  const { used, setUp, addUsers, chunkCount } = useExports(open)

  test('remove what is left behind, and nothing that is of use; done again they find nothing', async () => {
    await addUsers(1)
    const { biz: userExports, ask, attempt: exporting, clock } = setUp()
    const [kept, gone] = [await ask(), await ask()]
    for (const { payload } of [kept, gone]) await userExports.make(payload, exporting())
    await userExportStore(used.db).delete(gone.id)
    const biz = housekeepingBiz({
      clock,
      upkeep: createUpkeep(used.db, { log: fakeLog(), clock }),
      tokens,
      sessions: { removeEnded: none },
      userCodes: { removeExpired: none },
      apiKeys: { removeExpired: none },
      auditEvents: { removeOld: none, logHead: async () => {} },
      announcements: { removeOld: none },
      chatLinkRecords: { removeExpired: none },
      chatUpdates: { removeOld: none },
      subscriptions: { removeEmpty: none },
      userExports,
    })
    for (const left of [1, 1]) {
      for (const sweep of Object.values(biz)) expect(await sweep(newAttempt().attempt)).toBeUndefined()
      expect([await chunkCount(), (await userExports.get(kept.id)).state]).toEqual([left, 'done'])
    }
    clock.ms += 2 * dayMs
    expect(await biz.sweepExports(newAttempt().attempt)).toBeUndefined()
    expect([await chunkCount(), (await userExports.list({})).items]).toEqual([0, []])
  })
})
