import { describe, expect, test } from 'bun:test'
import { type EnqueueOptions, TaskRefused } from '@/core/queue/queue'
import { defineLimit } from '@/core/queue/limit'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { NewTask } from './driver'
import { type Envelope, faultOfEnvelope, packEnvelope, readEnvelope, readyMsOf } from './envelope'
import { createQueue } from './queue'

const nowMs = Date.parse('2026-01-31T09:05:00.000Z')
const limit = defineLimit('site')
const index = defineTask('page.index', Type.Object({ url: Type.String() }), { limit, group: { countMax: 10, delayMs: 60_000 } })
const plain = defineTask('page.show', Type.Object({ url: Type.String() }))

describe('a group', () => {
  const one = { url: '/one' }
  /** A queue over a driver that keeps what it is given. */
  function recording() {
    const calls: { tasks: readonly NewTask[] }[] = []
    const driver = {
      async enqueue(_: string, tasks: readonly NewTask[]) {
        calls.push({ tasks })
        return tasks.map(({ id }) => ({ id, status: 'enqueued' as const }))
      },
    }
    const queue = createQueue({
      ...{ driver, tasks: [index, plain], queues: ['default', 'mail'], clock: { nowMs: () => nowMs }, payloadMaxBytes: 1024 },
    })
    return { queue, calls, first: () => calls[0]?.tasks[0] as NewTask }
  }
  async function refused(options: EnqueueOptions, task = index) {
    const { queue, calls } = recording()
    const thrown: unknown = await queue.enqueue(task, one, options).catch(error => error)
    expect(calls).toEqual([])
    if (!(thrown instanceof TaskRefused)) throw thrown
    return { code: thrown.code, problems: thrown.problems }
  }

  test('is refused of a task without a rule for groups, with the remedy', async () => {
    expect(await refused({ group: 'g' }, plain)).toEqual({
      code: 'OptionInvalid',
      problems: [
        {
          pointer: 'group',
          detail: 'the task page.show has no rule for groups; declare it with one, { group: {} }, and handle it with handleGroup',
        },
      ],
    })
  })

  test('takes no options that are of one task, and says which and why', async () => {
    const said: [EnqueueOptions, string[]][] = [
      [{ delayMs: 1 }, ['delayMs']],
      [{ at: '2026-01-31T10:00:00Z' }, ['at']],
      [{ uniqueFor: 1, uniqueKey: 'k' }, ['uniqueFor']],
      [{ deadline: '2026-01-31T10:00:00Z' }, ['deadline']],
      [{ maxRetries: 1, timeoutMs: 1, keepForMs: 1 }, ['keepForMs', 'maxRetries', 'timeoutMs']],
      [{ backoff: { minMs: 0, maxMs: 0, factor: 1 } }, ['backoff']],
      [{ group: '' }, ['group']],
      [{ group: 'x'.repeat(1001) }, ['group']],
    ]
    for (const [options, pointers] of said) {
      const { code, problems } = await refused({ group: 'g', ...options })
      expect([code, problems.map(({ pointer }) => pointer).toSorted()]).toEqual(['OptionInvalid', pointers])
    }
    const { problems } = await refused({ group: 'g', delayMs: 1 })
    expect(problems[0]?.detail).toBe('goes not together with group: a group starts by the rule of its task')
    expect((await refused({ group: 'g', at: undefined as never, uniqueFor: 1 })).problems).toHaveLength(1)
  })

  test('has the rule of its task, and an envelope that names its member', async () => {
    const { queue, calls, first } = recording()
    const { id } = await queue.enqueue(index, one, { group: 'site', headers: { tenant: 'x' } })
    expect(first()).toEqual({
      ...{ id, isIdKept: false, priority: 5, delayMs: 0, envelope: first().envelope },
      lane: 'site',
      group: { key: expect.stringMatching(/^[\w-]{22}$/), countMax: 10, bytesMax: 262_144, delayMs: 60_000, delayMaxMs: 60_000 },
    })
    await queue.enqueueMany(index, [{ payload: { url: '/two' }, group: 'site', id: 'two' }, { payload: { url: '/three' } }])
    const [two, three] = calls[1]?.tasks ?? []
    expect([two?.group, two?.isIdKept, three?.group]).toEqual([first().group, true, undefined])
    expect(readEnvelope(`${first().envelope}\n${two?.envelope}\n${two?.envelope}`)).toEqual({
      ...{ task: 'page.index', payload: [one, { url: '/two' }], isGroup: true, enqueuedAtMs: nowMs, headers: { tenant: 'x' }, said: {} },
    })
    expect(readEnvelope(first().envelope)?.payload).toEqual([one])
    expect(readEnvelope(three?.envelope ?? '')).toMatchObject({ payload: { url: '/three' }, isGroup: false })
  })

  test('is another in another queue, of another priority, key or name, and of another task', async () => {
    const { queue, calls } = recording()
    const others: EnqueueOptions[] = [{}, { queue: 'mail' }, { priority: 1 }, { key: 'tenant' }, { group: 'other' }]
    for (const other of [...others, {}]) await queue.enqueue(index, one, { group: 'site', ...other })
    const keys = calls.map(({ tasks }) => tasks[0]?.group?.key)
    expect(new Set(keys).size).toBe(others.length)
    expect(keys.at(-1)).toBe(keys[0])
  })

  test('does not say since when it could have been started, which one that is alone does', async () => {
    const { queue, calls } = recording()
    await queue.enqueue(index, one, { group: 'site' })
    await queue.enqueue(index, one, { delayMs: 500 })
    const readyMs = calls.map(({ tasks }) => readyMsOf(readEnvelope(tasks[0]?.envelope ?? '') as Envelope))
    expect(readyMs).toEqual([undefined, nowMs + 500])
  })

  test('with a line that cannot be read, or is of another task, cannot be read, and it is said which', () => {
    const line = (task: string, memberId: string) =>
      packEnvelope({ task, payload: one, enqueuedAtMs: nowMs, headers: {}, said: {}, memberId })
    const bad: [string, string][] = [
      [[line('a.do', '1'), 'no JSON', line('a.do', '2')].join('\n'), 'line 2 of the 3 of a group is no task'],
      [[line('a.do', '1'), line('b.do', '2')].join('\n'), 'line 2 of the 2 of a group is of another task'],
      [['null', line('a.do', '1')].join('\n'), 'line 1 of the 2 of a group is no task'],
      ['"text"', 'what is stored is no task'],
    ]
    for (const [text, fault] of bad) expect([readEnvelope(text), faultOfEnvelope(text)]).toEqual([undefined, fault])
  })
})
