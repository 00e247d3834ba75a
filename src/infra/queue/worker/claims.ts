import type { Clock } from '@/core/clock'
import type { Log } from '@/core/log'
import type { Claimed, Finish } from '../driver'
import { readEnvelope } from '../envelope'
import type { Hold } from './beater'
import type { WorkerLimits } from './limits'
import type { TaskMeters } from './meters'
import { dead } from './outcome'
import { type Batch, newRun, type Run, type Skill } from './run'

/** What this process can do with the tasks of a queue. */
export interface Skills {
  of(task: string): Skill | undefined
  /** Of tasks that nobody here knows. */
  unknown: TaskMeters
}

export interface ClaimTools {
  queue: string
  skills: Skills
  limits: WorkerLimits
  log: Log
  clock: Clock
  isRunning(id: string): boolean
}

/**
 * Sorts what was claimed into attempts to be started, and those that end before: what cannot be read, is unknown here or does not
 * fit its schema is dead at once, since no retry would help, and with the reason but no value of the payload.
 */
export function sortClaimed(claimed: readonly Claimed[], nonce: string, sentAtMs: number, tools: ClaimTools) {
  const { queue, skills, limits, log, clock, isRunning } = tools
  const batch: Batch = { nonce, left: 0 }
  const runs: Run[] = []
  const finishes: Finish[] = []
  const nowMs = clock.nowMs()
  const sinceMs = performance.now()

  function refuse({ id, attempt }: Claimed, meters: TaskMeters, task: string | undefined, error: string): void {
    finishes.push(dead({ id, attempt, nonce }, error, false))
    meters.ended.dead.add()
    log.info('a task cannot be run', { task, id, attempt, queue, error })
  }

  for (const each of claimed) {
    if (isRunning(each.id)) {
      finishes.push({ id: each.id, attempt: each.attempt, nonce, outcome: 'snooze', delayMs: limits.againMs })
      continue
    }
    const envelope = readEnvelope(each.envelope)
    const skill = envelope && skills.of(envelope.task)
    if (!envelope) {
      refuse(each, skills.unknown, undefined, 'undecodable: what is stored is no task')
    } else if (!skill) {
      refuse(each, skills.unknown, envelope.task, `unknown task: ${envelope.task} is handled by no module here`)
    } else {
      const { deadlineMs } = envelope.said
      const misfit = skill.task.check(envelope.payload)
      if (misfit !== undefined) {
        refuse(each, skill.meters, envelope.task, `the payload does not fit the schema of its task: ${misfit}`)
      } else if (deadlineMs !== undefined && deadlineMs <= nowMs) {
        refuse(each, skill.meters, envelope.task, 'deadline: it has passed before the task could start')
      } else {
        const deadlineAtMs = deadlineMs === undefined ? Number.POSITIVE_INFINITY : sinceMs + deadlineMs - nowMs
        runs.push(newRun(each, { queue, skill, envelope, batch, deadlineAtMs, leaseFromMs: sentAtMs }))
      }
    }
  }
  batch.left = runs.length
  return { runs, finishes }
}

/** What the heartbeats are told of attempts of one claim. Nobody vouches for one after its limit and what it gets to end. */
export function holdOf(queue: string, nonce: string, runs: readonly Run[], { abortGraceMs }: WorkerLimits): Hold {
  const nowMs = performance.now()
  let ids = ''
  let attempts = ''
  let limitsMs = ''
  for (const run of runs) {
    const isFirst = ids === ''
    const leftMs = (run.limitAtMs || Math.min(nowMs + run.timeoutMs, run.deadlineAtMs)) - nowMs
    ids += isFirst ? run.id : ` ${run.id}`
    attempts += isFirst ? run.attempt : ` ${run.attempt}`
    limitsMs += isFirst ? leftMs + abortGraceMs : ` ${leftMs + abortGraceMs}`
  }
  return { queue, nonce, ids, attempts, limitsMs }
}
