/** Interleaved rounds, medians and tables. Machines drift, so what is compared runs side by side: A B C A B C … */
export const roundsMin = 11

export interface BenchOptions {
  rounds: number
  roundSeconds: number
}

/** One round of one contender. */
export interface Sample {
  perSecond: number
  /** User and system time of the process under test, for one operation. Steadier than throughput on a busy machine. */
  cpuMicros: number
}

export interface Contender {
  name: string
  run(): Promise<Sample>
  /** The least ratio to the baseline that this project promises itself. */
  bar?: number
}

export const columns = ['measurement', 'contender', 'per second', 'CPU µs each', 'speed × first', 'CPU × first', 'bar for speed']

/**
 * Runs all contenders in turn, `rounds` times.
 * @param contenders the first is the baseline
 * @returns a row each. Both ratios are medians over the rounds, and above 1 when better than the baseline.
 */
export async function compare(measurement: string, contenders: readonly Contender[], rounds: number): Promise<string[][]> {
  const samples = await interleaved(measurement, contenders, rounds)
  const [base = []] = samples
  return contenders.map(({ name, bar }, i) => {
    const own = samples[i] ?? []
    const { speed, cpu } = ratios(own, base)
    return [
      measurement,
      name,
      ...figures(own),
      speed.toFixed(2),
      cpu.toFixed(2),
      bar === undefined ? '' : verdict(`≥ ${bar.toFixed(2)}`, speed >= bar),
    ]
  })
}

/** @returns the samples of each contender, in the order of the rounds */
export async function interleaved(measurement: string, contenders: readonly Contender[], rounds: number): Promise<Sample[][]> {
  const samples = contenders.map(() => [] as Sample[])
  for (let round = 1; round <= rounds; round++) {
    progress(`${measurement}: round ${round} of ${rounds}`)
    for (const [i, contender] of contenders.entries()) samples[i]?.push(await contender.run())
  }
  return samples
}

/** How much better `own` is than `base`, round by round: medians, above 1 when better. */
export function ratios(own: readonly Sample[], base: readonly Sample[]): { speed: number; cpu: number } {
  return {
    speed: median(own.map((sample, i) => sample.perSecond / (base[i]?.perSecond ?? Number.NaN))),
    cpu: median(own.map((sample, i) => (base[i]?.cpuMicros ?? Number.NaN) / sample.cpuMicros)),
  }
}

/** Medians as they stand in tables: per second, CPU µs each. */
export const figures = (samples: readonly Sample[]): string[] => [
  Math.round(median(samples.map(({ perSecond }) => perSecond))).toLocaleString('en-US'),
  median(samples.map(({ cpuMicros }) => cpuMicros)).toFixed(2),
]

export const missed = '**missed**'
export const verdict = (bar: string, isMet: boolean): string => `${bar} ${isMet ? 'met' : missed}`

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN
  return (upper + lower) / 2
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows]
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

export const progress = (text: string): void => console.error(text)

/** The same numbers in every run (mulberry32, by Tommy Ettinger), so that contenders and runs see the same keys. */
export function seeded(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
