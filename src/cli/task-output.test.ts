import { expect, test } from 'bun:test'
import type { TaskView } from '@/core/queue/admin'
import { taskBlock, taskTable } from './task-output'

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
