import { defineTask, handle, handleGroup, type TaskContext, type TaskHandler } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { giveUp } from '@/core/queue/task'
import type { LedgerWriter } from './ledger'

const groupMs = 100
const ms = Type.Integer({ minimum: 0 })
const defaults = { maxRetries: 3, backoff: { minMs: 20, maxMs: 200, factor: 2 } }
const define = <P extends Parameters<typeof Type.Object>[0]>(name: string, payload: P) =>
  defineTask(name, Type.Object(payload, { additionalProperties: false }), defaults)

/** What the handlers of fault tests do, besides writing their steps into the ledger. */
export const faultTasks = {
  /** Takes so long, and ends when it is told to. */
  note: define('fault.note', { n: Type.Integer(), ms }),
  /** Takes its thread for so long. */
  block: define('fault.block', { ms }),
  /** Takes so long, whatever it is told. */
  deaf: define('fault.deaf', { ms }),
  /** Kills its process. */
  poison: define('fault.poison', {}),
  /** Throws for so many attempts. */
  fail: define('fault.fail', { times: Type.Integer({ minimum: 0 }) }),
  /** Gives up. */
  quit: define('fault.quit', {}),
  /** Collects numbers, and takes some milliseconds for each group. */
  collect: defineTask('fault.collect', Type.Object({ n: Type.Integer() }), {
    ...defaults,
    group: { countMax: 20, delayMs: 30, delayMaxMs: 200 },
  }),
}
export type FaultTaskName = keyof typeof faultTasks

export function faultHandlers(ledger: LedgerWriter): TaskHandler[] {
  /** Notes the beginning and the end, and that it was told to end. */
  const noted = async <R>({ id, attempt, signal }: TaskContext, work: () => Promise<R>): Promise<R> => {
    ledger.note('begin', id, attempt)
    signal.addEventListener('abort', () => ledger.note('abort', id, attempt, signal.reason.reason), { once: true })
    const result = await work()
    ledger.note('end', id, attempt)
    return result
  }
  return [
    handle(faultTasks.note, (payload, context) => noted(context, () => sleep(payload.ms, context.signal))),
    handle(faultTasks.block, (payload, context) =>
      noted(context, async () => {
        const endsAtMs = performance.now() + payload.ms
        while (performance.now() < endsAtMs);
      }),
    ),
    handle(faultTasks.deaf, (payload, context) => noted(context, () => Bun.sleep(payload.ms))),
    handle(faultTasks.poison, (_, context) => noted(context, async () => process.kill(process.pid, 'SIGKILL')).then(() => {})),
    handle(faultTasks.fail, ({ times }, context) =>
      noted(context, async () => {
        if (context.attempt <= times) throw new Error(`attempt ${context.attempt} of ${context.id} fails`)
      }),
    ),
    handleGroup(faultTasks.collect, (payloads, context) =>
      noted(context, async () => {
        await sleep(groupMs, context.signal)
        // The word is the group in which each was.
        for (const { n } of payloads) ledger.note('end', `payload-${n}`, context.attempt, context.id)
      }),
    ),
    handle(faultTasks.quit, (_, context) => noted(context, async () => giveUp('it can never be done'))),
  ]
}

/** @throws the reason of the signal, when it aborts first */
function sleep(forMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const timer = setTimeout(resolve, forMs)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        reject(signal.reason)
      },
      { once: true },
    )
  })
}
