import { expect } from 'bun:test'
import { rankTest } from './rank-test'

/** What is asked for, by what it is called, each time in another round. */
export type Kinds = Readonly<Record<string, (round: number) => Promise<unknown>>>

/** Samples differ when they would be as different as this by chance once in a hundred times. */
const pMin = 0.01
/** Of kinds that take the same time one pair in a hundred looks different. One that does is looked at again: what differs, differs again. */
const looksMax = 3

/**
 * Measures that nobody can tell kinds of requests apart by their time.
 * @param rounds samples of each kind, 10 or more
 */
export async function expectSameTime(kinds: Kinds, rounds: number): Promise<void> {
  let found: Found[] = []
  for (let look = 0; look < looksMax; look++) {
    found = differences(await timesOf(kinds, rounds))
    if (found.length === 0) return
  }
  expect(found).toEqual([])
}

/**
 * Times one of each kind, all at once, in an order that is another in each round: what else the machine does then slows all of them down. So
 * a round takes little longer than one request where there are several processors.
 * @returns milliseconds by kind
 */
export async function timesOf(kinds: Kinds, rounds: number): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = Object.fromEntries(Object.keys(kinds).map(kind => [kind, []]))
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      shuffled(Object.entries(kinds)).map(async ([kind, ask]) => {
        const startedMs = performance.now()
        await ask(round)
        times[kind]?.push(performance.now() - startedMs)
      }),
    )
  }
  return times
}

export interface Found {
  kinds: readonly [string, string]
  p: number
  medianMs: readonly [number, number]
}

/** The pairs of kinds that can be told apart. */
export function differences(times: Readonly<Record<string, readonly number[]>>): Found[] {
  const all = Object.entries(times)
  return all.flatMap(([kind, one], i) =>
    all
      .slice(i + 1)
      .map(([other, others]) => ({
        kinds: [kind, other] as const,
        p: rankTest(one, others),
        medianMs: [median(one), median(others)] as const,
      }))
      .filter(({ p }) => p <= pMin),
  )
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** Fisher and Yates. */
function shuffled<T>(values: readonly T[]): T[] {
  const left = [...values]
  const taken: T[] = []
  while (left.length > 0) taken.push(...left.splice(Math.floor(Math.random() * left.length), 1))
  return taken
}
