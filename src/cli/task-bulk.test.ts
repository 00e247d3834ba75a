import { expect, spyOn, test } from 'bun:test'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { testQueue } from '@/testing/queue'
import { bulk } from './task-bulk'
import type { Run } from './task-run'

const note = defineTask('test.note', Type.Integer())

/** Standard input as a terminal at which somebody says no. */
function refusing(): Disposable {
  const { isTTY } = process.stdin
  process.stdin.isTTY = true
  const lines = spyOn(console, Symbol.asyncIterator).mockImplementation(async function* () {
    yield 'n'
  })
  return {
    [Symbol.dispose]() {
      process.stdin.isTTY = isTTY
      lines.mockRestore()
    },
  }
}

test('the question before many are deleted counts as many as a limit lets be, of all queues together', async () => {
  await using t = await testQueue({ tasks: [note], queues: { mail: {} } })
  for (const queue of ['default', 'mail'])
    await t.queue.enqueueMany(
      note,
      [1, 2, 3].map(payload => ({ payload, queue })),
    )
  using _ = refusing()
  using stderr = spyOn(process.stderr, 'write').mockImplementation(() => true)
  const asked = async (flags: Record<string, string>) => {
    stderr.mockClear()
    const run = { args: { words: [], flags, switches: new Set() }, admin: t.admin } as unknown as Run
    await expect(bulk(run, 'delete')).rejects.toThrow('nothing was removed')
    return stderr.mock.calls.map(([text]) => String(text)).join('')
  }
  expect(await asked({ all: '' })).toContain('Remove 6 tasks for good?')
  expect(await asked({ all: '', limit: '4' })).toContain('Remove 4 tasks for good?')
  expect(await asked({ all: '', limit: '2' })).toContain('Remove 2 tasks for good?')
  expect((await t.admin.stats('mail')).waiting + (await t.admin.stats('default')).waiting).toBe(6)
})
