import type { FsckFinding, QueueStats, TaskView } from '@/core/queue/admin'

/** How tasks are shown to people. Programs get JSON. */
const shownMax = 100

/** Text that somebody else has written, without what a terminal would obey. */
export const printable = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/g, one => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)

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

export function statsLines(all: readonly QueueStats[]): string[] {
  const hasOutbox = all.some(({ outbox }) => outbox !== undefined)
  const kept = hasOutbox ? ['outbox'] : []
  const head = [
    'queue',
    'waiting',
    'scheduled',
    'active',
    'dead',
    'oldest waits',
    ...kept,
    'enqueued',
    'done',
    'failed',
    'crashed',
    'cancelled',
  ]
  const rows = all.map(({ queue, waiting, scheduled, active, dead, oldestWaitingMs, outbox, total }) => [
    queue,
    ...[waiting, scheduled, active, dead].map(String),
    oldestWaitingMs === undefined ? '–' : `${(oldestWaitingMs / 1000).toFixed(1)} s`,
    ...(hasOutbox ? [String(outbox ?? 0)] : []),
    ...[total.enqueued, total.done, total.failed, total.crashed, total.cancelled].map(String),
  ])
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map(row => row[i]?.length ?? 0)))
  return [head, ...rows].map(row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  )
}

export const findingLine = ({ queue, id, what, remedy, fixed }: FsckFinding): string =>
  printable(`${queue}${id === undefined ? '' : `  ${id}`}  ${what}; ${fixed ? 'mended: ' : ''}${remedy}`)
