import { backoffMs } from '@/core/backoff'
import type { Log } from '@/core/log'
import { type Claim, type Exchange, type ExchangeReply, type Finish, type FinishStatus, isPassing, type QueueDriver } from '../driver'
import { awayMs } from './limits'
import type { QueueMeters } from './meters'

/**
 * Calls of the worker of one queue. One that got no answer is made again with the same arguments until it gets one, so nothing that ended is
 * forgotten, and what was claimed without our knowing it is found. One that was refused would be again: then each attempt is told of by
 * itself, and the one at fault is given up, whose lease then ends.
 */
export interface Calls {
  /** The last call was not answered. */
  readonly isAway: boolean
  /** @returns undefined when nobody waits for it any more */
  untilAnswered(exchange: Exchange): Promise<ExchangeReply | undefined>
  /** Waits for no answer any more. */
  giveUp(): void
}

export interface CallsOptions {
  driver: Pick<QueueDriver, 'exchange'>
  queue: string
  meters: QueueMeters
  log: Log
  random: () => number
  wentAway(): void
}

export function createCalls({ driver, queue, meters, log, random, wentAway }: CallsOptions): Calls {
  let isAway = false
  let isClaimRefused = false
  let isGivenUp = false

  async function untilAnswered(exchange: Exchange): Promise<ExchangeReply | undefined> {
    for (let failures = 0; !isGivenUp; failures++) {
      try {
        const reply = await driver.exchange(queue, exchange)
        if (isAway) log.info('the queue is back', { queue })
        isAway = false
        if (exchange.claim) isClaimRefused = false
        return reply
      } catch (thrown) {
        if (!isPassing(thrown)) return refused(exchange, thrown)
        meters.away.add()
        if (!isAway) log.warn('the queue does not answer; it is asked again', { queue, err: thrown })
        isAway = true
        wentAway()
        if (!isGivenUp) await Bun.sleep(backoffMs(awayMs, failures, random))
      }
    }
    return undefined
  }

  async function refused({ finish = [], claim }: Exchange, err: unknown): Promise<ExchangeReply | undefined> {
    const [first] = finish
    if (finish.length > 1 || (first && claim)) return oneByOne(finish, claim)
    meters.refused.add()
    if (first) {
      const { id, attempt, outcome } = first
      log.error('the queue refuses to be told how an attempt ended: its lease ends, and it is made again', {
        ...{ queue, id, attempt, outcome, err },
      })
      return { finished: ['gone'], claimed: [] }
    }
    if (!isClaimRefused) log.error('the queue refuses to give tasks; it is asked again now and then', { queue, err })
    isClaimRefused = true
    return { finished: [], claimed: [] }
  }

  async function oneByOne(finish: readonly Finish[], claim: Claim | undefined): Promise<ExchangeReply | undefined> {
    const finished: FinishStatus[] = []
    for (const each of finish) {
      const reply = await untilAnswered({ finish: [each] })
      if (!reply) return undefined
      finished.push(...reply.finished)
    }
    const reply = claim ? await untilAnswered({ claim }) : { claimed: [], nextDueMs: 0 }
    return reply && { ...reply, finished }
  }

  return {
    get isAway() {
      return isAway
    },
    untilAnswered,
    giveUp() {
      isGivenUp = true
    },
  }
}
