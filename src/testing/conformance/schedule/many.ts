import { expect, test } from 'bun:test'
import type { Backing } from '../../backings'
import { startAt, useScene } from './fixture'

const schedules = 10_000
/** Far more than it takes, on a machine that does other work. */
const limitMs = 20_000

/** Many schedules that are due in the same second. */
export function manySuite(open: () => Promise<Backing>): void {
  const scene = useScene(open)

  test('ten thousand that are due in one second are enqueued, each once, within seconds', async () => {
    const id = await scene.add({ overlap: 'skip' })
    const row = await scene.row(id)
    const copied = ['origin', 'cron', 'timeZone', 'task', 'payload', 'overlap', 'catchUp', 'catchUpWindowMs', 'jitterMs', 'isPaused']
      .concat(['cursorMs', 'nextAtMs', 'missed', 'untrimmed', 'createdAtMs', 'updatedAtMs', 'version'])
      .map(column => `"${column}"`)
      .join(', ')
    await scene.db.tx(
      async tx => {
        for (let i = 1; i < schedules; i++)
          await tx.run(`insert into "schedule" ("id", "name", ${copied}) select ?, ?, ${copied} from "schedule" where "id" = ?`, [
            Bun.randomUUIDv7(),
            `many-${i}`,
            row.id,
          ])
      },
      { timeoutMs: 120_000 },
    )
    scene.clock.move(60_000)
    const beganMs = performance.now()
    await scene.one.fire()
    const tookMs = performance.now() - beganMs
    const accepted = await scene.accepted()
    expect([accepted.length, new Set(accepted).size]).toEqual([schedules, schedules])
    const told = await scene.db.first('select count(*) as "n", max("tickMs") as "last" from "scheduleTick" where "what" = \'fired\'', [], {
      from: 'primary',
    })
    expect([Number(told?.['n']), Number(told?.['last'])]).toEqual([schedules, Date.parse(startAt) + 60_000])
    expect([tookMs < limitMs, tookMs]).toEqual([true, tookMs])
    // The next minute each has a task that has not ended, which is to be asked for.
    const askedMs = performance.now()
    scene.clock.move(60_000)
    await scene.one.fire()
    expect(performance.now() - askedMs).toBeLessThan(limitMs)
    expect(await scene.accepted()).toHaveLength(schedules)
  }, 300_000)
}
