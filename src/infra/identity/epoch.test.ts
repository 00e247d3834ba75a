import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import type { Subject } from '@/core/identity'
import { revocationMaxMs } from '@/core/revocations'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { failure, openAgain } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import type { OpenDatabase } from '../database/driver'
import { migrateUp } from '../database/migrate'
import { createEpoch, keptMs, removeOld } from './epoch'

/** What a process has been told to forget, in order; `*` is all. */
function noting() {
  const forgotten: string[] = []
  return {
    forgotten,
    forget: (subjects: readonly Subject[]) => void forgotten.push(...subjects),
    forgetAll: () => void forgotten.push('*'),
  }
}

const subject = (i: number): Subject => `session:${String(i).padStart(6, '0')}`

onEachBacking('revocations', open => {
  let backing: Backing
  /** Of two processes. */
  let own: OpenDatabase
  let others: OpenDatabase
  beforeAll(async () => {
    backing = await open()
    own = await openAgain(backing)
    others = await openAgain(backing)
    await migrateUp(own, migrations)
  })
  afterAll(async () => {
    await Promise.all([own.close(), others.close()])
    await backing.dispose()
  })
  beforeEach(async () => {
    await own.run('delete from "revocation"')
  })

  function processOn(db: OpenDatabase) {
    const log = fakeLog()
    const memory = noting()
    const at = { ms: 0 }
    const epoch = createEpoch(db, memory, { clock: systemClock, log, nowMs: () => at.ms })
    return { ...memory, epoch, log, at }
  }

  /** Its first look, before which it cannot know what has changed. */
  async function learned({ epoch, forgotten }: ReturnType<typeof processOn>): Promise<void> {
    await epoch.refresh()
    expect(forgotten.splice(0)).toEqual(['*'])
  }

  test('what changed before the first look may be remembered, so all is forgotten at it', async () => {
    const [writer, reader] = [processOn(own), processOn(others)]
    // Whoever was recognized meanwhile was as they were before this.
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:a']))
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['*'])
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['*'])
  })

  test('what is said in a transaction is forgotten here with its commit, and not when it is undone', async () => {
    const { epoch, forgotten } = processOn(own)
    await own.tx(async tx => {
      await epoch.revocations.forget(tx, ['user:a', 'session:b', 'user:a'])
      expect(forgotten).toEqual([])
    })
    expect(forgotten).toEqual(['user:a', 'session:b', 'user:a'])
    const undone = own.tx(async tx => {
      await epoch.revocations.forget(tx, ['user:c'])
      throw new Error('undone')
    })
    expect(await failure(undone)).toBe('undone')
    expect(forgotten).not.toContain('user:c')
    expect(await failure(epoch.revocations.forget(own, ['user:d']))).toContain('in the transaction of the change')
  })

  test('another process learns what was committed since it last asked, and nothing twice', async () => {
    const [writer, reader] = [processOn(own), processOn(others)]
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:before']))
    await learned(reader)
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:a', 'session:b']))
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:c']))
    await own.tx(tx => writer.epoch.revocations.forget(tx, []))
    await reader.epoch.refresh()
    expect(reader.forgotten.toSorted()).toEqual(['session:b', 'user:a', 'user:c'])
    await reader.epoch.refresh()
    expect(reader.forgotten).toHaveLength(3)
  })

  test('what is not committed yet is learned once it is', async () => {
    const [writer, reader] = [processOn(own), processOn(others)]
    await learned(reader)
    await own.tx(async tx => {
      await writer.epoch.revocations.forget(tx, ['user:late'])
      await reader.epoch.refresh()
      expect(reader.forgotten).toEqual([])
    })
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['user:late'])
  })

  test('changes at the same time in two processes are all learned, each once, whoever looks in between', async () => {
    const [first, second, reader] = [processOn(own), processOn(others), processOn(others)]
    await learned(reader)
    const each = 60
    const write = async ({ epoch }: ReturnType<typeof processOn>, db: OpenDatabase, from: number) => {
      for (let i = from; i < from + each; i++) await db.tx(tx => epoch.revocations.forget(tx, [subject(i)]))
    }
    const writing = Promise.all([
      write(first, own, 0),
      write(first, own, each),
      write(second, others, each * 2),
      write(second, others, each * 3),
    ])
    let isOver = false
    const looking = (async () => {
      while (!isOver) await reader.epoch.refresh()
    })()
    await writing
    isOver = true
    await looking
    await reader.epoch.refresh()
    expect(reader.forgotten.toSorted()).toEqual(Array.from({ length: each * 4 }, (_, i) => subject(i)))
  }, 60_000)

  test('a process forgets all when it cannot know what: some is not kept any more, it is too much, or the count went back', async () => {
    const [writer, reader] = [processOn(own), processOn(others)]
    await learned(reader)
    for (const i of [1, 2, 3]) await own.tx(tx => writer.epoch.revocations.forget(tx, [subject(i)]))
    await own.run('delete from "revocation" where "subject" = ?', [subject(2)])
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['*'])
    await own.run('update "revocationEpoch" set "value" = "value" + 10001')
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['*', '*'])
    await own.run('update "revocationEpoch" set "value" = "value" - 5')
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['*', '*', '*'])
    await own.tx(tx => writer.epoch.revocations.forget(tx, [subject(4)]))
    await reader.epoch.refresh()
    expect(reader.forgotten).toEqual(['*', '*', '*', subject(4)])
  })

  test('it is fresh for as long as promised after it was asked, and not before', async () => {
    const { epoch, at } = processOn(own)
    expect(epoch.isFresh()).toBe(false)
    await epoch.refresh()
    at.ms += revocationMaxMs
    expect(epoch.isFresh()).toBe(true)
    at.ms += 1
    expect(epoch.isFresh()).toBe(false)
    const asking = epoch.refresh()
    // The answer is of when it was asked, not of when it came.
    at.ms += revocationMaxMs + 1
    await asking
    expect(epoch.isFresh()).toBe(false)
  })

  test('callers at the same time share one question', async () => {
    let questions = 0
    const counting: OpenDatabase = Object.assign(Object.create(own), {
      first: (...all: Parameters<OpenDatabase['first']>) => {
        questions++
        return own.first(...all)
      },
    })
    const { epoch } = processOn(counting)
    await Promise.all(Array.from({ length: 50 }, () => epoch.refresh()))
    expect(questions).toBe(1)
  })

  test('when it cannot be read, whoever asks is refused, the log says so once, and it comes back', async () => {
    const process = processOn(others)
    const { epoch, at, log, forgotten } = process
    await learned(process)
    await own.run('update "revocationEpoch" set "id" = 2')
    try {
      for (let i = 0; i < 3; i++) {
        at.ms += revocationMaxMs + 1
        expect(await failure(epoch.refresh())).toBe('Unavailable.Unknown')
        expect(epoch.isFresh()).toBe(false)
      }
    } finally {
      await own.run('update "revocationEpoch" set "id" = 1')
    }
    await epoch.refresh()
    expect(epoch.isFresh()).toBe(true)
    expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'info'])
    expect(forgotten).toEqual([])
  })

  test('while it runs it learns by itself within the promised time; once stopped it asks no more', async () => {
    const reader = noting()
    const running = createEpoch(others, reader, { clock: systemClock, log: fakeLog() })
    const writer = processOn(own)
    await running.start()
    expect(reader.forgotten.splice(0)).toEqual(['*'])
    try {
      for (let i = 0; i < 3; i++) {
        await own.tx(tx => writer.epoch.revocations.forget(tx, [subject(i)]))
        const committedMs = performance.now()
        while (reader.forgotten.length === i) {
          expect(performance.now() - committedMs).toBeLessThan(revocationMaxMs)
          await Bun.sleep(10)
        }
      }
      expect(running.isFresh()).toBe(true)
    } finally {
      await running.stop()
    }
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:unseen']))
    await Bun.sleep(700)
    expect(reader.forgotten).toHaveLength(3)
    await running.stop()
  }, 15_000)

  test('what is older than an hour is removed, and nothing else', async () => {
    const writer = processOn(own)
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:old']))
    await own.run('update "revocation" set "atMs" = "atMs" - ?', [keptMs + 60_000])
    await own.tx(tx => writer.epoch.revocations.forget(tx, ['user:new']))
    await Promise.all([removeOld(own, systemClock), removeOld(others, systemClock)])
    expect((await own.all('select "subject" from "revocation"', [], { from: 'primary' })).map(row => row['subject'])).toEqual(['user:new'])
  })

  test('as much as there is that is older than an hour is removed at once, until it is to stop', async () => {
    const old = Array.from({ length: 2500 }, (_, i) => i)
    const rows = old.map(() => '(?, ?, ?)').join(', ')
    const insert = () =>
      own.run(
        `insert into "revocation" ("epoch", "subject", "atMs") values ${rows}`,
        old.flatMap(i => [-i - 1, subject(i), 1]),
      )
    const count = async () => Number((await own.first('select count(*) as "count" from "revocation"', [], { from: 'primary' }))?.['count'])
    await insert()
    await removeOld(own, systemClock)
    expect(await count()).toBe(0)
    await insert()
    await removeOld(own, systemClock, () => false)
    expect(await count()).toBe(1500)
  })
})
