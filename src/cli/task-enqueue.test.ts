import { expect, spyOn, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { queueErrors, type Queue } from '@/core/queue/queue'
import { defineLimit } from '@/core/queue/limit'
import { type AnyTask, defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { temporaryFolder } from '@/testing/bingo'
import { testQueue } from '@/testing/queue'
import { enqueueFrom } from './task-enqueue'

const note = defineTask('test.note', Type.Object({ n: Type.Integer() }, { additionalProperties: false }))
const again = ', which enqueues those again unless their lines say an id'

/** What is said of such lines on both streams, and what is thrown. */
async function said(queue: Queue, lines: readonly object[], task: AnyTask = note) {
  using folder = temporaryFolder()
  const file = `${folder.path}/tasks.ndjson`
  writeFileSync(file, lines.map(line => JSON.stringify(line)).join('\n'))
  using stdout = spyOn(console, 'log').mockImplementation(() => {})
  using stderr = spyOn(console, 'error').mockImplementation(() => {})
  const thrown = await enqueueFrom(queue, task, file, { options: {}, isJson: true, lineMaxBytes: 100_000 }).catch(error => error)
  const of = ({ mock }: typeof stdout | typeof stderr) => mock.calls.map(([text]) => String(text).replaceAll(file, 'FILE'))
  return { code: thrown.code, stdout: of(stdout).map(text => JSON.parse(text)), stderr: of(stderr) }
}

const goOn = (line: number) => `go on with 'tail -n +${line} "FILE" | bingo task enqueue … --from=-'`
const free = (n: number) => ({ payload: { n }, options: { id: `free-${n}` } })
const full = (n: number) => ({ payload: { n }, options: { queue: 'small', id: `full-${n}` } })

test('when a queue is full midway, what is enqueued is said, and where to go on', async () => {
  await using t = await testQueue({ tasks: [note], queues: { small: { backlogMax: 1 } } })
  await t.queue.enqueue(note, { n: 0 }, { queue: 'small', id: 'full-0' })
  expect(await said(t.queue, [full(1), full(2)])).toEqual({
    code: 'Unavailable.QueueFull',
    stdout: [],
    stderr: ['bingo: FILE: gave up in the lines 1–2; nothing is enqueued'],
  })
  const part = await said(t.queue, [free(1), free(2), full(3), full(4)])
  expect(part.stdout).toEqual(['free-1', 'free-2'].map(id => ({ id, status: 'enqueued' })))
  expect(part.stderr).toEqual([`bingo: FILE: gave up in the lines 1–4; 2 of them are enqueued: ${goOn(3)}`])
  const mixed = await said(t.queue, [free(5), full(5), free(6), full(6)])
  expect(mixed.stderr).toEqual([`bingo: FILE: gave up in the lines 1–4; 2 of them are enqueued, 1 behind line 2: ${goOn(2)}${again}`])
  expect((await t.admin.stats('default')).waiting).toBe(4)
  expect((await t.admin.stats('small')).waiting).toBe(1)
})

test('when no answer came, nothing is said of what nobody knows', async () => {
  const away = { enqueueMany: () => Promise.reject(queueErrors.QueueUnavailable()) } as unknown as Queue
  expect((await said(away, [free(1), free(2)])).stderr).toEqual([
    `bingo: FILE: gave up in the lines 1–2, of which some may be enqueued: ${goOn(1)}${again}`,
  ])
})

test('what list writes of a task under a limit is enqueued for the same key, while there is a limit', async () => {
  const limited = defineTask('test.limited', note.schema, { limit: defineLimit('tenant', { concurrency: 1 }) })
  const unlimited = defineTask('test.limited', note.schema)
  await using from = await testQueue({ tasks: [limited] })
  await from.queue.enqueueMany(limited, [
    { payload: { n: 1 }, id: 'keyed', key: 'acme/7' },
    { payload: { n: 2 }, id: 'alone' },
  ])
  const { items } = await from.admin.list('default', 'waiting')
  for (const [task, lanes] of [
    [limited, ['tenant/acme/7', 'tenant']],
    [unlimited, [undefined, undefined]],
  ] as const) {
    await using to = await testQueue({ tasks: [task] })
    expect((await said(to.queue, items, task)).stdout).toHaveLength(2)
    const shown = [await to.admin.show('keyed'), await to.admin.show('alone')]
    expect(shown.map(({ lane }) => lane)).toEqual([...lanes])
  }
})
