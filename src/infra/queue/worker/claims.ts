import type { Clock } from '@/core/clock'
import type { Log } from '@/core/log'
import type { Claimed, Finish } from '../driver'
import { faultOfEnvelope, readEnvelope } from '../envelope'
import type { LiveClaim } from './beater'
import { suspectCrashes, suspectsApartMax, type WorkerLimits } from './limits'
import type { TaskMeters } from './meters'
import { dead } from './outcome'
import { fitPayload } from './payload'
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
  /** Whether one runs in this process, of whichever queue. */
  isSuspectRunning(): boolean
  random: () => number
}

/**
 * Sorts what was claimed into attempts to be started, and those that end before: what cannot be read, is unknown here or does not
 * fit its schema is dead at once, since no retry would help, and with the reason but no value of the payload.
 *
 * Suspects never meet: one that kills its workers would take the same neighbors with it each time, since they are taken back
 * together and come back together, until all are taken for poison. So a suspect runs with no other in this process, and of several
 * that were claimed together none is started: before the queue has been told of the others, it might take them with it once more.
 */
export function sortClaimed(claimed: readonly Claimed[], nonce: string, sentAtMs: number, tools: ClaimTools) {
  const { queue, skills, limits, log, clock, isRunning, isSuspectRunning, random } = tools
  const batch: Batch = { nonce, left: 0 }
  const runs: Run[] = []
  const finishes: Finish[] = []
  const nowMs = clock.nowMs()
  const sinceMs = performance.now()

  function refuse({ id, attempt }: Claimed, meters: TaskMeters, task: string | undefined, error: string): void {
    finishes.push(dead({ id, attempt, nonce }, error, false))
    meters.ended.dead.add()
    // What nobody can read was damaged, or never one of ours; the rest is a matter of versions, or of time.
    log[task === undefined ? 'error' : 'warn']('a task cannot be run', { task, id, attempt, queue, error })
  }

  const putOff = ({ id, attempt }: Claimed, delayMs: number) => void finishes.push({ id, attempt, nonce, outcome: 'snooze', delayMs })

  const suspects = claimed.filter(isSuspect).length
  const mayRunSuspect = suspects === 1 && !isSuspectRunning()
  const apartMs = limits.apartMs * Math.min(suspects, suspectsApartMax)

  for (const each of claimed) {
    if (isRunning(each.id)) {
      putOff(each, limits.againMs)
      continue
    }
    if (isSuspect(each) && !mayRunSuspect) {
      putOff(each, Math.round(apartMs * random()))
      continue
    }
    const envelope = readEnvelope(each.envelope)
    const skill = envelope && skills.of(envelope.task)
    if (!envelope) {
      refuse(each, skills.unknown, undefined, `undecodable: ${faultOfEnvelope(each.envelope)}`)
    } else if (!skill) {
      refuse(each, skills.unknown, envelope.task, `unknown task: ${envelope.task} is handled by no module here`)
    } else {
      const { deadlineMs } = envelope.said
      const misfit = fitPayload(skill, envelope)
      if (misfit !== undefined) {
        refuse(each, skill.meters, envelope.task, misfit)
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

export const isSuspect = ({ crashes }: { crashes: number }): boolean => crashes >= suspectCrashes

/** What the heartbeats are told of attempts of one claim. Nobody vouches for one after its limit and what it gets to end. */
export function liveClaimOf(queue: string, nonce: string, runs: readonly Run[], { abortGraceMs }: WorkerLimits): LiveClaim {
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
