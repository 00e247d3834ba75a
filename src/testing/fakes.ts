import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Passwords } from '@/core/passwords'

/** Ports that keep what they were told, for tests that ask. */
export interface FakeLog extends Log {
  lines: { level: string; message: string; fields: Record<string, unknown> }[]
}

export function fakeLog(): FakeLog {
  const lines: FakeLog['lines'] = []
  const write =
    (level: string) =>
    (message: string, fields: object = {}) =>
      void lines.push({ level, message, fields: { ...fields } })
  return { lines, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), enabled: () => true }
}

/** Counts nothing. */
export function fakeMetrics(): Metrics {
  return {
    counter: () => ({ with: () => ({ add: () => {} }) }),
    histogram: () => ({ with: () => ({ observe: () => {} }) }),
    gauge: () => () => {},
    expose: async () => ({ text: '', contentType: 'text/plain' }),
  }
}

/** Hashes at once, and as anyone can see. */
export function fakePasswords(): Passwords {
  return { hash: async password => `hash of ${password}`, verify: async (password, hash) => hash === `hash of ${password}` }
}

/** The value of a series, such as `bingo_database_statements_total{kind="read"}`; undefined when there is none. */
export async function metricValue(metrics: Metrics, series: string): Promise<number | undefined> {
  const { text } = await metrics.expose()
  const line = text.split('\n').find(each => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}
