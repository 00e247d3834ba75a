import { loadConfig } from '@/core/config/load'
import { handle } from '@/core/queue/task'
import { openOwnDriver } from '@/infra/queue/worker/own-driver'
import { createWorker } from '@/infra/queue/worker'
import { fakeMetrics } from './fakes'
import { createLogOn } from '@/infra/log'
import { numbered } from './numbered'

// A worker whose handler blocks its thread: a program of its own, since the test has to go on meanwhile.

const [queue = '', leaseMs = '', blockMs = '', where = ''] = process.argv.slice(2)
const { config } = loadConfig({ env: process.env, flags: {}, readFile: () => '' })
const log = createLogOn(line => process.stderr.write(line), 'info')
const tools = { log, metrics: fakeMetrics() }
const { driver, close } = await openOwnDriver(config, tools)
const block = handle(numbered(), async (_, { attempt, signal }) => {
  console.log(`attempt ${attempt}`)
  const untilMs = performance.now() + Number(blockMs)
  while (performance.now() < untilMs) Math.random()
  // Whoever looks at leases has his turn again.
  await Bun.sleep(100)
  if (signal.aborted) console.log(`aborted: ${signal.reason}`)
})
const worker = createWorker({
  ...{ driver, ...tools, handlers: [block], leaseMs: Number(leaseMs), graceMs: 5000 },
  queues: { [queue]: { concurrency: 4 } },
  heartbeats: where === 'here' ? { driver } : { config },
})
await worker.start()
console.log('started')
// Whoever started it closes our input to stop us.
for await (const _ of Bun.stdin.stream());
await worker.stop()
await close()
process.exit()
