import { queuesOf } from '@/app'
import { yearMs } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import { AppError, StartError } from '@/core/error'
import type { QueueAdmin } from '@/core/queue/admin'
import type { Told } from '@/core/queue/audited'
import type { OpenQueue } from '@/infra/queue/open'
import { roles } from '@roles'
import { type Arguments, usage } from './arguments'
import { isSomebodyThere, saysYes } from './confirm'
import { printable } from '@/core/printable'

/** What the actions of `bingo task` share. */
export interface Run {
  args: Arguments
  config: Config
  /** What stands after the action. */
  rest: readonly string[]
  queue: OpenQueue
  /** What it changes is written down. */
  admin: QueueAdmin
  /** Whom what is changed is told. */
  told: Told
}

export const isJsonOf = ({ switches }: Arguments): boolean => switches.has('json')

/** The one that is named, or all. */
export const queuesIn = ({ flags: { queue } }: Arguments, { queues }: Pick<QueueAdmin, 'queues'>): readonly string[] =>
  queue === undefined ? queues : [queue]

/** @throws StartError with exit code 64 */
export function refuseUnknownQueue(queue: string): void {
  const queues = queuesOf(roles)
  if (!queues.includes(queue)) throw usage(`there is no queue ${JSON.stringify(queue)}; queues are ${queues.join(', ')}`)
}

/** As many tasks as a queue may be said to have. */
const countMax = 1_000_000_000

/** @throws StartError with exit code 64 */
export function count({ flags: given }: Arguments, flag: string, least: number, most = countMax): number {
  const text = given[flag] ?? ''
  const number = Number(text)
  if (!/^\d{1,15}$/.test(text) || number < least || number > most)
    throw usage(`--${flag} is a number from ${least} to ${most}, not ${JSON.stringify(text)}`)
  return number
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `90s`, `15m`, `2h`, `7d`. @throws StartError with exit code 64 */
export function duration({ flags: given }: Arguments, flag: string): number {
  const text = given[flag] ?? ''
  const [, digits = '', unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? []
  const ms = Number(digits) * (units[unit] ?? Number.NaN)
  if (digits === '' || !(ms <= yearMs)) throw usage(`--${flag} is a time like 90s, 15m, 2h or 7d, not ${JSON.stringify(text)}`)
  return ms
}

/** Said of one task by the queue, rather than that it is away. */
export const isAnswer = (thrown: unknown): thrown is AppError => thrown instanceof AppError && thrown.kind !== 'Unavailable'

export const explained = (id: string, { code, message }: AppError): string =>
  `${printable(id)}: ${message} ${remedies[code] ?? ''}`.trimEnd()

const remedies: Readonly<Record<string, string>> = {
  'NotFound.TaskNotFound': "'bingo task list' shows what is.",
  'FailedPrecondition.TaskNotDead': "'bingo task show' says where.",
  'FailedPrecondition.TaskActive': "'bingo task cancel' tells it to end.",
  'FailedPrecondition.TaskNotMoved': "'bingo task show' says which.",
}

/** What is removed does not come back. @throws StartError when nobody says yes, with exit code 64 where nobody can be asked */
export async function confirmed(action: 'delete' | 'cancel', question: string): Promise<void> {
  refuseUnasked(action)
  if (await saysYes(question)) return
  throw new StartError(action === 'delete' ? 'nothing was removed' : 'nothing was cancelled')
}

/** @throws StartError with exit code 64 where nobody can be asked */
export function refuseUnasked(action: 'delete' | 'cancel'): void {
  if (!isSomebodyThere()) throw usage(`bingo task ${action} ${action === 'delete' ? 'removes' : 'ends tasks'} for good; say --yes`)
}
