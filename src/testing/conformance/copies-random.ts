import { expect } from 'bun:test'
import { cardStore, newCard, type Process, ttlMs } from './copies-fixture'

const names = Array.from({ length: 12 }, (_, i) => `name ${i}`)

/** Each caller stays with one process, as one whose requests are told apart would; all write to the same few rows. */
export async function randomOperations(processes: readonly Process[], operations: number): Promise<void> {
  const rows: string[] = []
  /** When each version of a row was overwritten, as far as writers were told: from then on it is old. */
  const overwrittenAtMs = new Map<string, number>()
  let done = 0

  async function caller(process: Process): Promise<void> {
    const least = new Map<string, number>()
    const named = new Map<string, { id: string; atMs: number }>()
    const acknowledged = (id: string, version: number) => {
      least.set(id, Math.max(version, least.get(id) ?? 0))
      overwrittenAtMs.set(`${id} ${version - 1}`, performance.now())
    }
    while (done++ < operations) {
      const startedMs = performance.now()
      const id = rows[Math.floor(Math.random() * rows.length)] as string
      const dice = Math.random()
      if (dice < 0.6) {
        const row = await process.store.get(id)
        const version = row?.version ?? 0
        const oldSinceMs = overwrittenAtMs.get(`${id} ${version}`) ?? Number.POSITIVE_INFINITY
        expect([id, version >= (least.get(id) ?? 0)]).toEqual([id, true])
        expect([id, version, startedMs - oldSinceMs < ttlMs]).toEqual([id, version, true])
      } else if (dice < 0.75) {
        const row = await process.store.update(id, { amount: done }).catch(thrown => void expect(thrown.code).toBe('Aborted.Contended'))
        if (row) acknowledged(id, row.version)
      } else if (dice < 0.8) {
        await process.db
          .tx(async tx => {
            const row = await cardStore(tx).update(id, { amount: done })
            if (row) await tx.afterCommit(() => {})
            return row
          })
          .then(
            row => row && acknowledged(id, row.version),
            thrown => expect(thrown.code).toBe('Aborted.Contended'),
          )
      } else if (dice < 0.95) {
        const name = names[Math.floor(Math.random() * names.length)] as string
        const row = await process.store.find({ name })
        // Whoever gave the name sees it there, or with somebody who took it since.
        if (row) expect(row.name).toBe(name)
        const own = named.get(name)
        if (own && row === undefined)
          expect([name, (await process.store.get(own.id, { from: 'primary' }))?.name === name]).toEqual([name, false])
      } else {
        const name = names[Math.floor(Math.random() * names.length)] as string
        const row = await process.store
          .update(id, { name })
          .catch(thrown => void expect(['Conflict.NameTaken', 'Aborted.Contended']).toContain(thrown.code))
        if (!row) continue
        acknowledged(id, row.version)
        named.set(name, { id, atMs: performance.now() })
      }
    }
  }

  const first = processes[0] as Process
  for (let i = 0; i < 20; i++) rows.push((await first.store.create(newCard())).id)
  await Promise.all(Array.from({ length: 8 }, (_, i) => caller(processes[i % processes.length] as Process)))
  expect(done).toBeGreaterThan(operations)
}
