import { hostname } from 'node:os'
import { type Clock, dayMs } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { ProcessFacts, Processes } from '@/core/processes'
import type { Service } from '@/core/service'
import { createScheduleClock } from '../schedule/clock'
import { keepProcess, listProcesses, removeProcess, sweepProcesses } from './rows'

/** Who runs, and that this one does: said when it starts, every five seconds, and taken back when it stops. */
export interface OpenProcesses {
  processes: Processes
  /** For processes that run roles. Starts also while the database is away, and says it later. */
  beating: Service
}

const beatMs = 5000
/** Whoever looks for what has crashed finds it for so long. */
const deadKeptMs = dayMs
const sweepEveryMs = 3_600_000

export interface RegistryTools {
  clock: Clock
  log: Log
  roles: readonly string[]
  version: string
  /** All that there are; those of this process when absent. */
  roleNames?: readonly string[]
  beatEveryMs?: number
}

/** Asks nothing of the database before it is used. */
export function openProcesses(
  db: Database,
  { clock: machine, log, roles, version, roleNames = roles, beatEveryMs = beatMs }: RegistryTools,
): OpenProcesses {
  const own: ProcessFacts = { id: Bun.randomUUIDv7(), roles, version, host: hostname(), pid: process.pid }
  const clock = createScheduleClock(db, machine)
  let startedAtMs: number | undefined
  let sweptAtMs = Number.NEGATIVE_INFINITY
  let timer: Timer | undefined
  let isRunning = false
  let isFailing = false
  let beating: Promise<void> | undefined

  async function say(): Promise<void> {
    await clock.sync()
    const nowMs = clock.nowMs()
    startedAtMs ??= nowMs
    await keepProcess(db, own, startedAtMs, nowMs)
    if (nowMs - sweptAtMs < sweepEveryMs) return
    sweptAtMs = nowMs
    const { changes } = await sweepProcesses(db, nowMs - deadKeptMs)
    if (changes > 0) log.info('processes that have crashed are forgotten', { count: changes })
  }

  async function beat(): Promise<void> {
    try {
      await say()
      if (isFailing) log.info('this process is listed again')
      isFailing = false
    } catch (err) {
      // The others take it for dead, and it goes on with what it can.
      if (!isFailing) log.warn('that this process is alive could not be noted', { err })
      isFailing = true
    }
    if (isRunning) timer = setTimeout(next, beatEveryMs)
  }
  const next = () => {
    beating = beat()
  }

  return {
    processes: {
      own,
      roleNames,
      async list() {
        await clock.sync()
        return listProcesses(db, clock.nowMs())
      },
    },
    beating: {
      name: 'process registry',
      async start() {
        isRunning = true
        next()
        await beating
      },
      async stop() {
        if (!isRunning) return
        isRunning = false
        clearTimeout(timer)
        await beating
        await removeProcess(db, own.id).catch(err => log.debug('that this process has stopped could not be noted', { err }))
      },
    },
  }
}
