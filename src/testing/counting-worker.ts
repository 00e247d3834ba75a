import { loadConfig } from '@/core/config/load'
import { handle, result } from '@/core/queue/task'
import { createWorker } from '@/infra/queue/worker'
import { openOwnDriver } from '@/infra/queue/worker/own-driver'
import { fakeLog, fakeMetrics } from './fakes'
import { numbered } from './numbered'

// A worker whose handler counts to the number of its task, and saves how far it is after each: a program of its own, so that it can be killed.

const [queue = '', leaseMs = '', pauseMs = '', keepForMs = ''] = process.argv.slice(2)
const { config } = loadConfig({ env: process.env, flags: {}, readFile: () => '' })
const tools = { log: fakeLog(), metrics: fakeMetrics() }
const { driver } = await openOwnDriver(config, tools)
const count = handle(
  numbered('number.count', { keepForMs: Number(keepForMs) }),
  async ({ n }, { attempt, progress, saveProgress, lastProgress }) => {
    const last = await lastProgress()
    console.log(`attempt ${attempt} from ${last?.done ?? 0}`)
    for (let done = (last?.done ?? 0) + 1; done <= n; done++) {
      progress({ done, total: n })
      await saveProgress()
      console.log(`saved ${done}`)
      await Bun.sleep(Number(pauseMs))
    }
    return result({ counted: n })
  },
)
const worker = createWorker({
  ...{ driver, ...tools, handlers: [count], leaseMs: Number(leaseMs), graceMs: 1000 },
  queues: { [queue]: { concurrency: 4 } },
  heartbeats: { driver },
})
await worker.start()
console.log('started')
