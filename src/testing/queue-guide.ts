import { loadConfig } from '@/core/config/load'
import type { AnyTask, TaskHandler } from '@/core/queue/task'
import type { AnyTable } from '@/core/table'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import type { OpenQueue } from '@/infra/queue/open'
import { createWorker } from '@/infra/queue/worker'
import { openPorts } from '@/infra/ports'
import { migrations } from '@/migrations'
import { createTable } from './conformance/fixture'
import { fakeLog, fakeMetrics } from './fakes'

/** What the code of the guide to the queue finds around it: a process as the environment configures it. */
export async function openGuideProcess(tasks: readonly AnyTask[], tables: readonly AnyTable[]) {
  const { config } = loadConfig({ env: process.env, flags: {}, readFile: () => '' })
  const tools = { log: fakeLog(), metrics: fakeMetrics() }
  const opened = await openPorts(config, new Set(['db', 'queue']), { ...tools, tasks, queues: ['default', 'mail'] })
  const [db, open] = [opened.db as OpenDatabase, opened.queue as OpenQueue]
  await migrateUp(db, migrations)
  for (const table of tables) await createTable(db, table)
  return {
    db,
    queue: open.queue,
    admin: open.admin,
    close: opened.close,
    /** As the scheduler role does, until nothing waits or runs. */
    async work(handlers: readonly TaskHandler[]) {
      const { leaseMs } = config.queue
      const worker = createWorker({
        ...{ driver: open.driver, handlers, leaseMs, ...tools },
        queues: { default: { concurrency: 4 } },
        graceMs: 5000,
        heartbeats: { config },
      })
      const services = [worker, ...(open.relay ? [open.relay] : [])]
      for (const service of services) await service.start()
      for (;;) {
        const { waiting, active, total } = await open.admin.stats('default')
        if (total.done > 0 && waiting + active === 0 && (await isOutboxEmpty(db))) break
        await Bun.sleep(20)
      }
      for (const service of services) await service.stop()
    },
  }
}

async function isOutboxEmpty(db: OpenDatabase): Promise<boolean> {
  if (db.dialect.name === 'sqlite') return true
  return (await db.first('select "seq" from "outbox" limit 1')) === undefined
}
