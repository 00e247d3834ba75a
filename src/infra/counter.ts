import type { Counter, MetricSpec } from '@/core/metrics'

/** What prom-client's registry asks of a metric: its series as they stand. */
interface Snapshot {
  name: string
  help: string
  type: 'counter'
  aggregator: 'sum'
  values: { labels: Record<string, string>; value: number }[]
}

export interface OwnCounter extends Counter<string> {
  name: string
  get(): Snapshot
}

/**
 * A counter for what every statement and request counts. prom-client's own looks its series up by its labels at each count, which
 * costs a sixth of a microsecond; here a series is a number.
 */
export function createCounter({ name, help, labels: names = [] }: MetricSpec<string>): OwnCounter {
  const all = new Map<string, { labels: Record<string, string>; value: number; add(by?: number): void }>()
  const seriesOf = (labels: Record<string, string>) => {
    const key = JSON.stringify(labels)
    const known = all.get(key)
    if (known) return known
    const series = {
      labels,
      value: 0,
      add(by = 1) {
        series.value += by
      },
    }
    all.set(key, series)
    return series
  }
  // Without labels there is one series, and it is there before its first count.
  if (names.length === 0) seriesOf({})
  return {
    name,
    with: seriesOf,
    get: () => ({ name, help, type: 'counter', aggregator: 'sum', values: [...all.values()] }),
  }
}
