import { shortDigest } from '../../digest'
import type { ClaimLimits, RateLimit } from '../driver'

/** What limits of a claim look like to the scripts, see `scripts/claim.ts`. A worker says the same object with each claim. */
const said = new WeakMap<ClaimLimits, (string | number)[]>()
/** Of the name of the limits of lanes. */
const versionLength = 8

export function wordsOfLimits(limits: ClaimLimits | undefined): (string | number)[] {
  if (!limits) return []
  const known = said.get(limits)
  if (known) return known
  const words = make(limits)
  said.set(limits, words)
  return words
}

function make({ concurrency, rate, lanes }: ClaimLimits): (string | number)[] {
  check('the queue', { concurrency, rate })
  const rules = Object.entries(lanes)
    .filter(([, { concurrency, rate }]) => concurrency !== undefined || rate)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, rule]) => {
      if (!/^[^\s/]+$/.test(name)) throw new Error(`not the name of a limit: ${JSON.stringify(name)}`)
      check(name, rule)
      return `${name} ${rule.concurrency ?? '-'} ${rule.rate?.intervalMs ?? '-'} ${rule.rate?.burst ?? '-'} `
    })
    .join('')
  const version = rules === '' ? '-' : shortDigest(rules).slice(0, versionLength)
  return [concurrency ?? '', rate?.intervalMs ?? '', rate?.burst ?? '', version, rules]
}

/** Its callers see to that. But a script that finds such a thing may have written half of what it writes. @throws Error */
function check(name: string, { concurrency, rate }: { concurrency?: number | undefined; rate?: RateLimit | undefined }): void {
  const isRight =
    (concurrency === undefined || isCount(concurrency)) &&
    (!rate || (Number.isFinite(rate.intervalMs) && rate.intervalMs > 0 && isCount(rate.burst)))
  if (!isRight) throw new Error(`not a limit for ${name}: ${JSON.stringify({ concurrency, rate })}`)
}

const isCount = (value: number) => Number.isInteger(value) && value >= 1
