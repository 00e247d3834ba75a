import { expect, test } from 'bun:test'
import type { QueueStats, TaskView } from '@/core/queue/admin'
import { errorLines, statsLines, taskBlock, taskTable } from './task-output'

const kept: TaskView = {
  ...{ id: 'a', queue: 'default', state: 'done', task: 'report.make', payload: { n: 1 }, headers: {}, priority: 5 },
  ...{ enqueuedAt: '2026-01-31T09:05:00.000Z', keptUntil: '2026-02-01T09:05:00.000Z', attempt: 2, failures: 1, crashes: 0, errors: [] },
  ...{ result: { rows: 3 }, progress: { done: 3, total: 3, message: 'all\u001b[2J' } },
}

test('one that is done and kept is listed with the time until when it is', () => {
  const { line } = taskTable(['default'], ['report.make'])
  expect(line(kept)).toMatch(/^a +default +done +report\.make +2 +kept until 2026-02-01T09:05:00\.000Z +\{"n":1\}$/)
})

test('it is shown with its result and how far it said to be, and nothing that a terminal would obey', () => {
  const lines = taskBlock(kept).split('\n')
  expect(lines).toContain('result      {"rows":3}')
  expect(lines).toContain('keptUntil   2026-02-01T09:05:00.000Z')
  expect(lines.find(each => each.startsWith('progress'))).toBe('progress    {"done":3,"total":3,"message":"all\\u001b[2J"}')
})

const total = { enqueued: 120_000, done: 119_000, failed: 12, crashed: 0, dead: 3, cancelled: 0 }
const full: QueueStats = {
  ...{ queue: 'mail', waiting: 997, scheduled: 0, held: 2, active: 8, done: 5, dead: 3, isPaused: true, oldestWaitingMs: 1234, total },
  rates: { overMs: 60_000, enqueued: 1234.5, done: 12.34, failed: 0.017, crashed: 0, dead: 0, cancelled: 0 },
  latencies: {
    overMs: 3_600_000,
    wait: { count: 9, p50Ms: 1.09, p95Ms: 54.8, p99Ms: 1230 },
    run: { count: 9, p50Ms: 912, p95Ms: 61_000, p99Ms: 150_000 },
  },
}
const idle: QueueStats = {
  ...{ queue: 'default', waiting: 0, scheduled: 0, held: 0, active: 0, done: 0, dead: 0, isPaused: false },
  total: { enqueued: 0, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 0 },
}

test('figures are three tables, of which the last has only queues of which something is known', () => {
  expect(statsLines([full, idle])).toEqual([
    'queue    waiting  scheduled  held  active  kept  dead  oldest waits',
    'mail         997          0     2       8     5     3         1.2 s  paused',
    'default        0          0     0       0     0     0             –',
    '',
    'queue    enqueued    /s    done    /s  failed     /s  crashed  /s  dead  /s  cancelled  /s',
    'mail       120000  1235  119000  12.3      12  0.017        0   0     3   0          0   0',
    'default         0     –       0     –       0      –        0   –     0   –          0   –',
    '',
    'queue  waits p50      p95    p99  runs p50     p95      p99',
    'mail     1.09 ms  54.8 ms  1.2 s    912 ms  61.0 s  2.5 min',
  ])
  expect(statsLines([idle])).toHaveLength(5)
  expect(statsLines([{ ...idle, outbox: 7 }])[0]).toContain('oldest waits  outbox')
})

test('what dead letters died of is shown without what a terminal would obey', () => {
  const at = { oldest: '2026-01-31T09:05:00.000Z', newest: '2026-01-31T09:06:00.000Z' }
  const lines = errorLines('mail', [
    { task: 'email.send', error: 'no\u001b[2J', count: 30, ...at, sampleId: 'a' },
    { error: '', count: 1, ...at, sampleId: 'b' },
  ])
  expect(lines).toEqual([
    '    mail  task        the last died             its id     error',
    '      30  email.send  2026-01-31T09:06:00.000Z  a          no\\u001b[2J',
    '       1  –           2026-01-31T09:06:00.000Z  b          –',
  ])
  expect(errorLines('mail', [])).toEqual([])
})
