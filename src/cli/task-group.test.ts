import { expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import type { TaskView } from '@/core/queue/admin'
import type { Queue } from '@/core/queue/queue'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { temporaryFolder } from '@/testing/bingo'
import { enqueueFrom } from './task-enqueue'
import { taskBlock, taskTable } from './task-output'

const group: TaskView = {
  ...{ id: 'g-1', queue: 'mail', state: 'dead', task: 'view.count', priority: 5, attempt: 1, failures: 1, crashes: 0, errors: [] },
  ...{ payload: Array.from({ length: 100 }, (_, n) => ({ n })), groupSize: 250 },
}

test('of a group its size is shown before its payloads, of which a line has the first', () => {
  expect(taskTable(['mail'], ['view.count']).line(group)).toContain('group of 250: [{"n":0},{"n":1}')
  expect(taskBlock(group)).toMatch(/^groupSize +250$/m)
})

test('a group that was listed is not enqueued as one task, and it is said what can be done', async () => {
  using folder = temporaryFolder()
  const file = `${folder.path}/tasks.ndjson`
  writeFileSync(file, `${JSON.stringify(group)}\n`)
  const task = defineTask('view.count', Type.Any())
  const said = enqueueFrom({} as Queue, task, file, { options: {}, isJson: true, lineMaxBytes: 100_000 })
  await expect(said).rejects.toThrow(`${file}:1: is a group of 250 tasks, which cannot be enqueued as one`)
})
