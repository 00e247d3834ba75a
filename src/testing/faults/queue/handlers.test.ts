import { expect } from 'bun:test'
import { handle } from '@/core/queue/task'
import { packEnvelope } from '@/infra/queue/envelope'
import { createWorker } from '@/infra/queue/worker'
import { gate, until } from '../../conformance/cache-fixture'
import { countingMetrics, fakeLog } from '../../fakes'
import { isFull } from '../scene'
import { onEachPlace } from './places'
import { openQueueScene, type QueueScene, type WorkerOver } from './scene'
import { faultTasks } from './tasks'

/** Handlers and workers that misbehave, on both stores. A lease is short here, and at full size as it is by default. */
const leaseMs = isFull ? 30_000 : 1200
const testTimeoutMs = 300_000
/** By when another worker has what a worker that is gone has left. */
const redeliveryMaxMs = isFull ? 40_000 : leaseMs * 1.25 + 2000
const report = (text: string) => isFull && console.log(text)

const stepsOf = (scene: QueueScene, id: string) =>
  scene.ledger().flatMap(entry => (entry.id === id ? [[entry.step, entry.attempt, entry.word]] : []))
const begins = (scene: QueueScene, id: string) => scene.ledger().filter(({ step, id: other }) => step === 'begin' && other === id)
const noteMany = async (scene: QueueScene, count: number, ms: number): Promise<string[]> => {
  const tasks = Array.from({ length: count }, (_, n) => scene.newTask('note', { n, ms }))
  await scene.driver.enqueue(scene.queue, tasks)
  return tasks.map(({ id }) => id)
}
/** Ids that have not been run to the end. */
const unfinished = (scene: QueueScene, ids: readonly string[]): string[] => {
  const ended = new Set(scene.ledger().flatMap(({ step, id }) => (step === 'end' ? [id] : [])))
  return ids.filter(id => !ended.has(id))
}

/** So many workers, each started again when it has ended. */
function supervise(scene: QueueScene, count: number, over: WorkerOver) {
  let isOver = false
  const keep = async () => {
    while (!isOver) await (await scene.work(over)).exited
  }
  const kept = Promise.all(Array.from({ length: count }, keep))
  return {
    async stop() {
      isOver = true
      while (scene.workers.length > 0) await Promise.all([...scene.workers].map(worker => worker.stop()))
      await kept
    },
  }
}

/** One worker has a task that blocks it; another would take it, and does what else there is. */
async function block(scene: QueueScene, beatsWithHandlers: boolean): Promise<string> {
  const blockMs = isFull ? 60_000 : 2500
  await scene.work({ concurrency: 1, beatsWithHandlers })
  const id = await scene.enqueue('block', { ms: blockMs })
  const { pid } = await scene.noted(entry => entry.step === 'begin' && entry.id === id)
  await scene.work()
  const [neighbor] = await noteMany(scene, 1, 0)
  expect((await scene.noted(entry => entry.step === 'end' && entry.id === neighbor)).pid).not.toBe(pid)
  await scene.settled(2 * blockMs + redeliveryMaxMs)
  return id
}

onEachPlace(
  'A handler that blocks its thread for a minute keeps its task',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs })
    const id = await block(scene, false)
    await scene.noted(entry => entry.step === 'told' && entry.id === id)
    const [begin, end] = scene.ledger().filter(entry => entry.id === id)
    report(`${name}, thread blocked for ${(end?.atMs ?? 0) - (begin?.atMs ?? 0)} ms, lease ${leaseMs} ms: ${begins(scene, id).length} run`)
    expect(stepsOf(scene, id)).toEqual([
      ['begin', 1, ''],
      ['end', 1, ''],
      ['told', 1, 'ok'],
    ])
    expect((await scene.driver.stats(scene.queue)).total).toMatchObject({ done: 2, crashed: 0, failed: 0 })
  },
  testTimeoutMs,
)

// So that the test before could fail. The tests of the worker have the small form.
if (isFull)
  onEachPlace(
    'A handler that blocks its thread would lose its task if its heartbeats came from there, and its late end changes nothing',
    async (place, name) => {
      await using scene = openQueueScene(place, { leaseMs })
      const id = await block(scene, true)
      report(`${name}, thread blocked, heartbeats with handlers: ${begins(scene, id).length} runs`)
      expect(begins(scene, id)).toHaveLength(2)
      await scene.noted(({ step, word, ...entry }) => step === 'told' && word !== 'ok' && entry.id === id)
      expect((await scene.driver.stats(scene.queue)).total).toMatchObject({ done: 2, crashed: 1, failed: 0 })
    },
    testTimeoutMs,
  )

onEachPlace(
  'A handler that goes on though it was told to end keeps its slot, is counted as stuck, and is run elsewhere but not here',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs })
    const metrics = countingMetrics()
    const gauge = (which: 'running' | 'stuck') => metrics.gaugeOf(`bingo_task_${which}`)
    const ends = { first: gate(), second: gate() }
    const seen: [id: string, attempt: number][] = []
    const said = { timeoutMs: 200, maxRetries: 9, backoff: { minMs: 50, maxMs: 50, factor: 1 } }
    const [first, second] = [await scene.enqueue('deaf', { ms: 0 }, { said }), await scene.enqueue('deaf', { ms: 0 }, { said })]
    const worker = createWorker({
      ...{ driver: place.driver, leaseMs, graceMs: 5000, log: fakeLog(), metrics },
      limits: { abortGraceMs: 200, againMs: 100, pollMs: 200 },
      queues: { [scene.queue]: { concurrency: 2 } },
      heartbeats: { driver: place.driver },
      handlers: [
        handle(faultTasks.deaf, async (_, { id, attempt }) => {
          seen.push([id, attempt])
          await (id === first ? ends.first : ends.second).passed
        }),
        handle(faultTasks.note, async (_, { id, attempt }) => void seen.push([id, attempt])),
      ],
    })
    await worker.start()
    await until(() => gauge('stuck') === 2)
    expect(gauge('running')).toBe(2)

    // Both slots are taken, though the queue has been told: nothing else starts, and both wait again.
    const [neighbor = ''] = await noteMany(scene, 1, 0)
    await until(async () => (await place.driver.stats(scene.queue)).total.failed === 2)
    await Bun.sleep(300)
    const { waiting, scheduled, active } = await place.driver.stats(scene.queue)
    expect([waiting, scheduled, active]).toEqual([1, 2, 0])
    expect(seen.map(([id]) => id).toSorted()).toEqual([first, second].toSorted())

    // With a slot it takes what there is, and again and again puts off the one that still runs here.
    ends.second.open()
    await until(async () => ((await place.driver.show(scene.queue, first))?.attempt ?? 0) >= 3, 10_000)
    await until(async () => (await place.driver.show(scene.queue, second)) === undefined)
    expect(seen.filter(([id]) => id === neighbor)).toEqual([[neighbor, 1]])
    expect(seen.filter(([id]) => id === first)).toEqual([[first, 1]])
    expect([gauge('running'), gauge('stuck')]).toEqual([1, 1])

    await scene.work()
    const { attempt } = await scene.noted(entry => entry.step === 'told' && entry.id === first)
    const before = await place.driver.stats(scene.queue)
    expect(before.total).toMatchObject({ done: 3, failed: 2, crashed: 0, dead: 0 })
    ends.first.open()
    await until(() => gauge('running') === 0)
    expect(gauge('stuck')).toBe(0)
    await worker.stop()
    expect(await place.driver.stats(scene.queue)).toEqual(before)
    report(
      `${name}, deaf handler: 1 run here, ${begins(scene, first).length} elsewhere as attempt ${attempt}, 2 failures, slots 2 of 2 taken`,
    )
    expect(await place.leftovers(scene.queue)).toEqual([])
  },
  testTimeoutMs,
)

onEachPlace(
  'A crash is not a failure, and a task that kills four workers becomes a dead letter',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs })
    // As whoever runs them starts them again.
    const workers = supervise(scene, 2, isFull ? {} : { limits: { pollMs: 200, apartMs: 100 } })
    const id = await scene.enqueue('poison', {})
    // The first come and go with it, also when they are due again.
    const neighbors = await noteMany(scene, 5, 200)
    const beganMs = performance.now()
    const isDead = async () => (await place.driver.show(scene.queue, id))?.state === 'dead'
    try {
      while (!(await isDead())) {
        if (performance.now() - beganMs > testTimeoutMs / 2) throw new Error('it lives')
        neighbors.push(...(await noteMany(scene, 2, 10)))
        // After the second crash they wait for seconds.
        if (!isFull) await place.hurry(scene.queue)
        await Bun.sleep(100)
      }
      const tookMs = Math.round(performance.now() - beganMs)
      while ((await place.driver.stats(scene.queue)).scheduled > 0) {
        if (!isFull) await place.hurry(scene.queue)
        await Bun.sleep(100)
      }
      await scene.settled(redeliveryMaxMs)
      report(`${name}, poison: dead after ${begins(scene, id).length} runs and ${tookMs} ms, ${neighbors.length} neighbors`)
    } finally {
      await workers.stop()
    }
    const poisoned = await place.driver.show(scene.queue, id)
    expect(begins(scene, id)).toHaveLength(4)
    expect(poisoned).toMatchObject({ failures: 0, crashes: 4 })
    expect(poisoned?.errors.map(({ message }) => message)).toEqual(['poison: 4 workers did not survive it'])
    expect(unfinished(scene, neighbors)).toEqual([])
    const { total, dead } = await place.driver.stats(scene.queue)
    expect([dead, total.failed, total.dead, total.done]).toEqual([1, 0, 1, neighbors.length])
  },
  testTimeoutMs,
)

onEachPlace('What cannot be read or handled becomes a dead letter at once, and its neighbors are run', async (place, name) => {
  await using scene = openQueueScene(place, { leaseMs })
  const { driver, queue } = scene
  const envelope = (task: string, payload: unknown) => packEnvelope({ task, payload, enqueuedAtMs: Date.now(), headers: {}, said: {} })
  const texts = ['', 'not { json', '{"task":"fault.note"}', '[]', '["fault.note"]', '["fault.note",1]', 'null', '\u0000\uffff']
  const odd = [
    ...texts,
    envelope('fault.gone', {}),
    envelope('fault.note', { n: 1 }),
    envelope('fault.note', { n: 1, ms: 'soon', more: 1 }),
  ].map(text => scene.newTask('note', { n: 0, ms: 0 }, { envelope: text }))
  const damaged = scene.newTask('note', { n: 0, ms: 0 })
  const neighbors: string[] = []
  for (const task of [...odd, damaged]) {
    neighbors.push(...(await noteMany(scene, 3, 5)))
    await driver.enqueue(queue, [task])
  }
  neighbors.push(...(await noteMany(scene, 3, 5)))
  await place.damage(queue, damaged.id)
  await scene.work()
  await until(() => unfinished(scene, neighbors).length === 0)
  const tookMs = await scene.settled(2000)
  report(`${name}, ${odd.length + 1} that cannot be run are dead ${Math.round(tookMs)} ms after their ${neighbors.length} neighbors ended`)
  const reasons: Record<string, string> = {}
  for (const { id, envelope: text } of [...odd, damaged]) {
    const task = await driver.show(queue, id)
    expect(task).toMatchObject({ state: 'dead', attempt: 1, failures: 0, crashes: 0 })
    reasons[id === damaged.id ? 'damaged' : text.replace(/,\d{13},/, ',now,')] = task?.errors.map(({ message }) => message).join() ?? ''
    expect(begins(scene, id)).toEqual([])
  }
  expect(Object.values(reasons).map(reason => reason.split(':')[0])).toEqual([
    ...texts.map(text => (text === '["fault.note",1]' ? 'the payload does not fit the schema of its task' : 'undecodable')),
    'unknown task',
    ...Array(2).fill('the payload does not fit the schema of its task'),
    'undecodable',
  ])
  const { total, dead } = await driver.stats(queue)
  expect([dead, total.dead, total.failed, total.done]).toEqual([odd.length + 1, odd.length + 1, 0, neighbors.length])
})

onEachPlace(
  'A cancelled task is not run again, wherever it ran',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs })
    const { driver, queue } = scene
    const begun = (id: string) => scene.noted(entry => entry.step === 'begin' && entry.id === id)
    // Nobody works yet.
    const waiting = await scene.enqueue('note', { n: 0, ms: 0 })
    const scheduled = await scene.enqueue('note', { n: 0, ms: 0 }, { delayMs: 300 })
    for (const id of [waiting, scheduled]) expect(await driver.cancel(queue, [id])).toEqual(['cancelled'])

    const worker = await scene.work()
    const running: string[] = []
    const tookMs: number[] = []
    for (let i = 0; i < 5; i++) {
      const own = await scene.enqueue('note', { n: 0, ms: 60_000 })
      await begun(own)
      const beganMs = performance.now()
      expect(await driver.cancel(queue, [own])).toEqual(['cancelling'])
      await scene.noted(({ step, id, word }) => step === 'abort' && id === own && word === 'cancelled')
      tookMs.push(Math.round(performance.now() - beganMs))
      await scene.noted(({ step, id, word }) => step === 'told' && id === own && word === 'ok')
      running.push(own)
    }
    // A worker that has just started may not listen yet; it hears of the first with its next heartbeat.
    expect(Math.max(...tookMs.slice(1))).toBeLessThan(1000)

    // It is not heard of any more before it could say that it has ended.
    const killed = await scene.enqueue('deaf', { ms: 60_000 })
    const { pid } = await begun(killed)
    expect(pid).toBe(worker.pid)
    worker.pause()
    expect(await driver.cancel(queue, [killed])).toEqual(['cancelling'])
    await worker.kill()
    await scene.work()
    const [neighbor = ''] = await noteMany(scene, 1, 0)
    await scene.settled(redeliveryMaxMs)
    report(
      `${name}, cancelled: told ${tookMs.join(', ')} ms later in another process; ${begins(scene, killed).length} run of the one whose worker was killed`,
    )
    expect(unfinished(scene, [neighbor])).toEqual([])
    expect([waiting, scheduled, killed].map(id => begins(scene, id).length)).toEqual([0, 0, 1])
    expect(running.map(id => begins(scene, id).length)).toEqual(running.map(() => 1))
    expect((await driver.stats(queue)).total).toMatchObject({ cancelled: 3 + running.length, done: 1, failed: 0, crashed: 0, dead: 0 })
    expect(await place.leftovers(queue)).toEqual([])
  },
  testTimeoutMs,
)
