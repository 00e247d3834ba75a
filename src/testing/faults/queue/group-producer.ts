import { writeSync } from 'node:fs'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { createQueue } from '@/infra/queue/queue'
import { openOwnDriver } from '@/infra/queue/worker/own-driver'
import { fakeLog, fakeMetrics } from '../../fakes'
import { eachLine } from '../../bingo'
import { faultTasks } from './tasks'

/** A process that enqueues numbers in groups, with ids of its own, so that another may say the same again when this one was killed. */
export interface GroupProducerOptions {
  env: Record<string, string>
  queue: string
  /** The numbers are those below. */
  count: number
}
const variable = 'BINGO_FAULT_GROUPS'
const callers = 4
const inOneCallMax = 5
const stdout = 1

export interface GroupProducer {
  /** Numbers of which it was told that they are accepted. */
  accepted: ReadonlySet<number>
  /** SIGKILL, once so many have been accepted. */
  killAfter(accepted: number): Promise<void>
  exited: Promise<number>
}

export function startGroupProducer(options: GroupProducerOptions): GroupProducer {
  const accepted = new Set<number>()
  let limit = Number.POSITIVE_INFINITY
  const child = Bun.spawn([process.execPath, import.meta.path], {
    env: { ...process.env, [variable]: JSON.stringify(options) },
    ...{ stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' },
  })
  const killIfEnough = () => void (accepted.size >= limit && child.kill('SIGKILL'))
  void eachLine(child.stdout, line => {
    accepted.add(Number(line))
    killIfEnough()
  })
  return {
    accepted,
    exited: child.exited,
    async killAfter(count) {
      limit = count
      killIfEnough()
      await child.exited
    },
  }
}

if (import.meta.main) await produce(JSON.parse(process.env[variable] ?? '') as GroupProducerOptions)

async function produce({ env, queue, count }: GroupProducerOptions): Promise<void> {
  const { config } = loadConfig({ env, flags: {}, readFile: () => '' })
  const { driver, close } = await openOwnDriver(config, { log: fakeLog(), metrics: fakeMetrics() })
  const task = faultTasks.collect
  const port = createQueue({ driver, tasks: [task], queues: [queue], clock: systemClock, payloadMaxBytes: 1024 })
  let next = 0
  async function caller(nth: number): Promise<void> {
    while (next < count) {
      const numbers = Array.from({ length: 1 + (next % inOneCallMax) }, () => next++).filter(n => n < count)
      const group = `group-${nth % 2}`
      await port.enqueueMany(
        task,
        numbers.map(n => ({ payload: { n }, id: `number-${n}`, queue, group })),
      )
      for (const n of numbers) writeSync(stdout, `${n}\n`)
      await Bun.sleep(1)
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, nth) => caller(nth)))
  await close()
  process.exit(0)
}
