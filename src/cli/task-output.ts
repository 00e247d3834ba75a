import type { FsckFinding, Percentiles, QueueStats, TaskView } from '@/core/queue/admin'
import type { ErrorGroup } from '@/core/queue/bulk'
import { printable } from '@/core/printable'

/** How tasks are shown to people. Programs get JSON. */
const shownMax = 100

/** What its time means, of each state. */
function timeOf({ state, deadAt, keptUntil, leaseUntil, runAt, enqueuedAt }: TaskView): string {
  const [what, at] = {
    waiting: ['enqueued', enqueuedAt],
    scheduled: ['not before', runAt],
    held: ['enqueued', enqueuedAt],
    active: ['leased until', leaseUntil],
    done: ['kept until', keptUntil],
    dead: ['died', deadAt],
  }[state]
  return at === undefined ? '' : `${what} ${at}`
}

/** A task on each line, in columns as wide as the names that there are. */
export function taskTable(queues: readonly string[], tasks: readonly string[]) {
  const widest = (names: readonly string[]) => Math.max(5, ...names.map(({ length }) => length))
  const widths = [22, widest(queues), 9, widest(tasks), 4, 37]
  const row = (cells: readonly string[]) => cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')
  return {
    head: row(['id', 'queue', 'state', 'task', 'runs', 'time', 'payload, and the last error']),
    line(task: TaskView): string {
      const payload = 'payload' in task ? `${sizeOf(task)}${JSON.stringify(task.payload)}` : 'cannot be read'
      const error = task.errors.at(-1)?.message
      const cells = [task.id, task.queue, task.state, task.task ?? '–', String(task.attempt), timeOf(task), cut(payload)]
      return printable(row(error === undefined ? cells : [...cells, cut(error)]))
    },
  }
}

const sizeOf = ({ groupSize }: TaskView) => (groupSize === undefined ? '' : `group of ${groupSize}: `)

const cut = (text: string) => (text.length > shownMax ? `${text.slice(0, shownMax)}…` : text)

/** All that is known of one, a line for each. */
export function taskBlock({ errors, payload, headers, ...task }: TaskView): string {
  const values: [string, unknown][] = [...Object.entries(task), ['payload', payload], ['headers', headers]]
  const lines = values.flatMap(([name, value]) => (value === undefined ? [] : [[name, textOf(value)] as const]))
  const width = Math.max(...lines.map(([name]) => name.length))
  const failed = errors.map(({ at, attempt, message }) => `  ${at}  attempt ${attempt}  ${printable(message)}`)
  return [...lines.map(([name, text]) => `${name.padEnd(width)}  ${text}`), ...(failed.length > 0 ? ['errors', ...failed] : [])].join('\n')
}

const textOf = (value: unknown) => printable(typeof value === 'string' ? value : JSON.stringify(value))

/** How full queues are, how they go, and how long it takes: three tables, of which the last is there once there is something in it. */
export function statsLines(all: readonly QueueStats[]): string[] {
  const hasOutbox = all.some(({ outbox }) => outbox !== undefined)
  const now = all.map(({ queue, waiting, scheduled, held, active, done, dead, oldestWaitingMs, outbox, isPaused }) => [
    queue,
    ...[waiting, scheduled, held, active, done, dead].map(String),
    oldestWaitingMs === undefined ? '–' : `${(oldestWaitingMs / 1000).toFixed(1)} s`,
    ...(hasOutbox ? [String(outbox ?? 0)] : []),
    isPaused ? 'paused' : '',
  ])
  const counted = ['enqueued', 'done', 'failed', 'crashed', 'dead', 'cancelled'] as const
  const pace = all.map(({ queue, total, rates }) => [
    queue,
    ...counted.flatMap(name => [String(total[name]), rates === undefined ? '–' : rateOf(rates[name])]),
  ])
  const timed = all.flatMap(({ queue, latencies }) => (latencies ? [{ queue, ...latencies }] : []))
  const times = timed.map(({ queue, wait, run }) => [queue, ...[wait, run].flatMap(each => timesOf(each))])
  const keptHead = ['queue', 'waiting', 'scheduled', 'held', 'active', 'kept', 'dead', 'oldest waits', ...(hasOutbox ? ['outbox'] : []), '']
  return [
    ...table(keptHead, now),
    '',
    ...table(['queue', ...counted.flatMap(name => [name, '/s'])], pace),
    ...(times.length > 0 ? ['', ...table(['queue', ...['waits', 'runs'].flatMap(what => [`${what} p50`, 'p95', 'p99'])], times)] : []),
  ].map(line => line.trimEnd())
}

const rateOf = (perSecond: number) => (perSecond >= 100 ? perSecond.toFixed(0) : perSecond >= 1 ? perSecond.toFixed(1) : String(perSecond))

const timesOf = (times: Percentiles | undefined) => (times ? [times.p50Ms, times.p95Ms, times.p99Ms].map(timeText) : ['–', '–', '–'])

function timeText(ms: number): string {
  if (ms < 1000) return `${Number(ms.toPrecision(3))} ms`
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60_000).toFixed(1)} min`
}

/** The first column to the left, numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map(row => row[i]?.length ?? 0)))
  return [head, ...rows].map(row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  )
}

/** What dead letters of a queue died of, the most first. */
export function errorLines(queue: string, groups: readonly ErrorGroup[]): string[] {
  if (groups.length === 0) return []
  const widest = (texts: readonly string[], least: number) => Math.max(least, ...texts.map(({ length }) => length))
  const ids = widest(
    groups.map(({ sampleId }) => sampleId),
    9,
  )
  const tasks = widest(
    groups.map(({ task = '' }) => task),
    4,
  )
  const row = (count: string, task: string, newest: string, id: string, error: string) =>
    `${count.padStart(8)}  ${task.padEnd(tasks)}  ${newest.padEnd(24)}  ${id.padEnd(ids)}  ${error}`.trimEnd()
  return [
    row(queue, 'task', 'the last died', 'its id', 'error'),
    ...groups.map(({ count, task = '–', newest, sampleId, error }) => row(String(count), task, newest, sampleId, printable(error) || '–')),
  ]
}

export const findingLine = ({ queue, id, what, remedy, fixed }: FsckFinding): string =>
  printable(`${queue}${id === undefined ? '' : `  ${id}`}  ${what}; ${fixed ? 'mended: ' : ''}${remedy}`)
