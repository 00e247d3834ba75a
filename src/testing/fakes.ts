import type { Actor, AuditEntry, AuditLog } from '@/core/audit'
import type { Database } from '@/core/database'
import type { LiveSettings, LiveValues } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Mail, Mailer } from '@/core/mailer'
import type { Metrics } from '@/core/metrics'
import type { Passwords } from '@/core/passwords'
import type { EnqueueOptions, Queue } from '@/core/queue/queue'
import type { Subject } from '@/core/identity'
import type { Revocations } from '@/core/revocations'
import { createCipher } from '@/core/seal'
import type { Guess, Throttle } from '@/core/throttle'

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

/** Counts, and says how often: `count('bingo_reads_total', { level: 'memory' })`. */
export interface CountingMetrics extends Metrics {
  count(name: string, labels?: Record<string, string>): number
  gaugeOf(name: string, labels?: Record<string, string>): number | undefined
}

export function countingMetrics(): CountingMetrics {
  const counts = new Map<string, number>()
  const gauges = new Map<string, () => number | undefined>()
  const series = (name: string, labels: Record<string, string>) => `${name} ${JSON.stringify(Object.entries(labels).toSorted())}`
  return {
    ...fakeMetrics(),
    counter: ({ name }) => ({
      with: labels => ({ add: (by = 1) => void counts.set(series(name, labels), (counts.get(series(name, labels)) ?? 0) + by) }),
    }),
    gauge: ({ name }: { name: string }, read: () => number | undefined, labels: Record<string, string> = {}) => {
      gauges.set(series(name, labels), read)
      return () => void gauges.delete(series(name, labels))
    },
    count: (name, labels = {}) => counts.get(series(name, labels)) ?? 0,
    gaugeOf: (name, labels = {}) => gauges.get(series(name, labels))?.(),
  }
}

/** Hashes at once, and as anyone can see. */
export function fakePasswords(): Passwords {
  return {
    hash: async password => `hash of ${password}`,
    verify: async (password, hash) => hash === `hash of ${password}`,
    isOutdated: hash => !hash.startsWith('hash of '),
  }
}

/** Keeps what is enqueued. */
export function fakeQueue(): Queue & { enqueued: { task: string; payload: unknown; options: EnqueueOptions }[] } {
  const enqueued: { task: string; payload: unknown; options: EnqueueOptions }[] = []
  const keep = (task: { name: string }, payload: unknown, options: EnqueueOptions) => {
    enqueued.push({ task: task.name, payload, options })
    return { id: options.id ?? `task-${enqueued.length}`, status: 'enqueued' as const }
  }
  return {
    enqueued,
    enqueue: async (task, payload, options = {}) => keep(task, payload, options),
    enqueueMany: async (task, items, shared = {}) => items.map(({ payload, ...options }) => keep(task, payload, { ...options, ...shared })),
    enqueueChain: async steps => steps.map(({ task, payload, options }) => keep(task, payload, options)),
    enqueueBatch: async (steps, last) => ({
      tasks: steps.map(({ task, payload, options }) => keep(task, payload, options)),
      last: keep(last.task, last.payload, last.options),
    }),
    wait: async id => ({ id, outcome: 'gone' }),
  }
}

/** Keeps what is sent. */
export function fakeMailer(): Mailer & { sent: Mail[] } {
  const sent: Mail[] = []
  return { sent, send: async mail => void sent.push(mail) }
}

/** What it is told, for ever, and otherwise as by default. */
export const fakeLiveSettings = ({ signUp = 'open' }: { signUp?: LiveValues['signUp'] | undefined } = {}): LiveSettings => ({
  now: () => ({ maintenance: { isOn: false }, signUp, logLevel: 'info' }),
  refresh: async () => {},
})

/** Keeps whom it was told to forget. */
export function fakeRevocations(): Revocations & { forgotten: Subject[] } {
  const forgotten: Subject[] = []
  return { forgotten, forget: async (_, subjects) => void forgotten.push(...subjects) }
}

/** Keeps what is written down, with who has done it. */
export function fakeAudit(): AuditLog<string> & { events: (Actor & AuditEntry)[] } {
  const events: (Actor & AuditEntry)[] = []
  return {
    events,
    record: async (_, by, entry) => void events.push({ ...by, ...entry }),
    note: async (by, entry) => void events.push({ ...by, ...entry }),
    refused: (by, entry, more) => void more().then(also => events.push({ ...by, ...entry, outcome: 'refused', ...also })),
  }
}

/** Lets everybody guess, and keeps who did, whether it was right, and who was let in without. */
export function fakeThrottle(): Throttle & { guesses: (Guess & { isRight: boolean })[]; admitted: Guess[] } {
  const guesses: (Guess & { isRight: boolean })[] = []
  const admitted: Guess[] = []
  return {
    guesses,
    admitted,
    admit: async guess => void admitted.push(guess),
    async guess(guess, check) {
      const found = await check()
      guesses.push({ ...guess, isRight: found !== undefined })
      return found
    },
  }
}

/** A real one, of a key that everybody may know. */
export const testCipher = createCipher(new Uint8Array(32).fill(7), 'test')

/** A database of which only transactions are used: each is this object again. */
export const fakeDatabase = (): Database => {
  const db = { tx: (work: (tx: Database) => Promise<unknown>) => work(db), inTransaction: true } as unknown as Database
  return db
}

/** The value of a series, such as `bingo_database_statements_total{kind="read"}`; undefined when there is none. */
export async function metricValue(metrics: Metrics, series: string): Promise<number | undefined> {
  const { text } = await metrics.expose()
  const line = text.split('\n').find(each => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}
