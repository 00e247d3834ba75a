import { expect, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import { defineTask, handle, handleGroup, type GroupRule, type TaskContext } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { until } from '@/testing/conformance/cache-fixture'
import { type Numbered, numbered } from '@/testing/numbered'
import { nothing, onEachStore, type Scene } from '@/testing/worker'
import { createQueue } from '../queue'

const name = 'number.sum'
const summed = (rule: GroupRule = {}) =>
  numbered(name, { backoff: { minMs: 1, maxMs: 1, factor: 1 }, group: { delayMs: 100, delayMaxMs: 5000, ...rule } })

const deadOf = ({ driver, queue }: Scene, id: string) =>
  until(async () => (await driver.show(queue, id))?.state === 'dead').then(() => driver.show(queue, id))
const portOf = ({ driver, queue }: Scene, task: Numbered) =>
  createQueue({ driver, tasks: [task], queues: [queue], clock: systemClock, payloadMaxBytes: 1024 })

onEachStore('a group of tasks', newScene => {
  test('is run as one, with its payloads in the order in which they came', async () => {
    const scene = newScene()
    const task = summed()
    const queue = portOf(scene, task)
    const ran: { numbers: number[]; context: TaskContext }[] = []
    const sum = handleGroup(task, async (payloads, context) => void ran.push({ numbers: payloads.map(({ n }) => n), context }))
    await using working = await scene.work([sum])
    const first = await queue.enqueue(task, { n: 1 }, { queue: scene.queue, group: 'g', headers: { tenant: 'first' } })
    const others = await queue.enqueueMany(
      task,
      [2, 3].map(n => ({ payload: { n }, queue: scene.queue, group: 'g', headers: { tenant: String(n) } })),
    )
    expect([first.status, ...others]).toEqual(['enqueued', ...[2, 3].map(() => ({ id: first.id, status: 'joined' as const }))])
    await until(() => working.ended('done', name) === 1)
    expect(ran.map(({ numbers }) => numbers)).toEqual([[1, 2, 3]])
    expect(ran[0]?.context).toMatchObject({ id: first.id, attempt: 1, headers: { tenant: 'first' } })
    await working.stop()
    expect(await scene.states()).toEqual(nothing)
  })

  test('starts at once when it is full, though its worker is idle', async () => {
    const scene = newScene()
    const task = summed({ countMax: 50, delayMs: 60_000, delayMaxMs: 60_000 })
    const queue = portOf(scene, task)
    const sizes: number[] = []
    await using _ = await scene.work([handleGroup(task, async payloads => void sizes.push(payloads.length))])
    await queue.enqueueMany(
      task,
      Array.from({ length: 120 }, (_, n) => ({ payload: { n }, queue: scene.queue, group: 'g' })),
    )
    await until(() => sizes.length === 2)
    expect(sizes).toEqual([50, 50])
    await until(async () => (await scene.states()).active === 0)
    expect(await scene.states()).toEqual({ ...nothing, scheduled: 1 })
  })

  test('of one that is enqueued without a group is a group of one', async () => {
    const scene = newScene()
    const task = summed()
    const seen: unknown[] = []
    await using _ = await scene.work([handleGroup(task, async payloads => void seen.push(payloads))])
    await portOf(scene, task).enqueue(task, { n: 7 }, { queue: scene.queue })
    await until(() => seen.length === 1)
    expect(seen).toEqual([[{ n: 7 }]])
  })

  test('fails as one, and is tried again as one', async () => {
    const scene = newScene()
    const task = summed({ countMax: 2 })
    const seen: string[] = []
    const fail = handleGroup(task, async (payloads, { id, attempt }) => {
      seen.push(`${attempt} ${id} ${payloads.map(({ n }) => n)}`)
      if (attempt === 1) throw new Error('not yet')
    })
    const { id } = await portOf(scene, task).enqueue(task, { n: 1 }, { queue: scene.queue, group: 'g' })
    await portOf(scene, task).enqueue(task, { n: 2 }, { queue: scene.queue, group: 'g' })
    await using working = await scene.work([fail])
    await until(() => working.ended('done', name) === 1)
    expect(seen).toEqual([`1 ${id} 1,2`, `2 ${id} 1,2`])
  })

  test('of which one payload does not fit any more is a dead letter that says which one; none is run, and none is lost', async () => {
    const scene = newScene()
    const old = summed({ countMax: 3 })
    const [first] = await portOf(scene, old).enqueueMany(
      old,
      [1, 20, 3].map(n => ({ payload: { n }, queue: scene.queue, group: 'g' })),
    )
    const id = first?.id ?? ''
    const strict = defineTask(name, Type.Object({ n: Type.Integer({ maximum: 10 }) }), { group: {} })
    const seen: number[][] = []
    {
      await using _ = await scene.work([handleGroup(strict, async payloads => void seen.push(payloads.map(({ n }) => n)))])
      const dead = await deadOf(scene, id)
      expect(dead?.errors[0]?.message).toContain('payload 2 of 3 of the group does not fit the schema of its task: ')
      expect(dead).toMatchObject({ state: 'dead', failures: 0 })
    }
    expect(seen).toEqual([])
    await scene.driver.retry(scene.queue, [id])
    await using working = await scene.work([handleGroup(old, async payloads => void seen.push(payloads.map(({ n }) => n)))])
    await until(() => working.ended('done', name) === 1)
    expect(seen).toEqual([[1, 20, 3]])
  })

  test('with a line that is damaged is a dead letter that says which one', async () => {
    const scene = newScene()
    const task = summed()
    await scene.enqueue({ name }, 1, { id: 'damaged', envelope: `["${name}",1,{"n":1},0,0,"a"]\n["${name}",1,{"n":` })
    await using _ = await scene.work([handleGroup(task, async () => {})])
    expect((await deadOf(scene, 'damaged'))?.errors[0]?.message).toBe('undecodable: line 2 of the 2 of a group is no task')
  })

  test('whose task is handled one by one since is a dead letter', async () => {
    const scene = newScene()
    const task = summed({ countMax: 1 })
    const { id } = await portOf(scene, task).enqueue(task, { n: 1 }, { queue: scene.queue, group: 'g' })
    let ran = 0
    await using _ = await scene.work([handle(numbered(name), async () => void ran++)])
    expect((await deadOf(scene, id))?.errors[0]?.message).toBe('it is a group, and its handler takes one payload at a time')
    expect(ran).toBe(0)
  })
})
