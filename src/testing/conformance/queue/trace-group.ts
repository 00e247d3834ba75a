import fc from 'fast-check'
import type { NewTask } from '@/infra/queue/driver'

const keys = ['g', 'h'].map(letter => letter.repeat(22))
/** As few bytes as two envelopes of a trace have, or more than it makes. */
const bytes = [60, 10_000]

/** Rules of groups, so tight that groups are full within some steps. @param delays which times they may name */
export function groupRules(delays: readonly number[]): fc.Arbitrary<NonNullable<NewTask['group']>> {
  const delayMs = fc.constantFrom(...delays.filter(ms => ms > 0))
  return fc
    .record({
      key: fc.constantFrom(...keys),
      countMax: fc.integer({ min: 1, max: 4 }),
      bytesMax: fc.constantFrom(...bytes),
      delayMs,
      more: delayMs,
    })
    .map(({ more, ...rule }) => ({ ...rule, delayMaxMs: Math.max(rule.delayMs, more) }))
}
