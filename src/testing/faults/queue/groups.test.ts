import { expect } from 'bun:test'
import { isFull } from '../scene'
import { startGroupProducer } from './group-producer'
import { onEachPlace } from './places'
import { eventually, openQueueScene } from './scene'

const leaseMs = isFull ? 30_000 : 1200
const count = isFull ? 20_000 : 1000
const settleMs = leaseMs * 3 + 20_000

onEachPlace(
  'What was accepted into a group is handled, whoever is killed, and what has an id of its own is in one group',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs })
    await Promise.all([scene.work({ concurrency: 2 }), scene.work({ concurrency: 2 })])
    const { queue } = scene
    const first = startGroupProducer({ env: place.env, queue, count })
    await first.killAfter(count / 4)
    expect(first.accepted.size).toBeLessThan(count)
    // It says all of it again, since it does not know how far the one before has come.
    const second = startGroupProducer({ env: place.env, queue, count })
    // A worker is killed while it has groups.
    const [victim] = scene.workers
    const isBusy = () => {
      const steps = scene.ledger().flatMap(({ pid, id, step }) => (pid === victim?.pid && !id.startsWith('payload-') ? [step] : []))
      return steps.filter(step => step === 'begin').length > steps.filter(step => step === 'end').length
    }
    await eventually(isBusy, settleMs, () => 'the worker has no group')
    await victim?.kill()
    await scene.work({ concurrency: 2 })
    expect(await second.exited).toBe(0)
    expect(second.accepted.size).toBe(count)
    await scene.settled(settleMs)

    const groupsOf = new Map<string, Set<string>>()
    const ended = scene.ledger().filter(({ step, id }) => step === 'end' && id.startsWith('payload-'))
    for (const { id, word } of ended) groupsOf.set(id, (groupsOf.get(id) ?? new Set()).add(word))
    const lost = Array.from({ length: count }, (_, n) => `payload-${n}`).filter(id => !groupsOf.has(id))
    const inTwo = [...groupsOf].filter(([, groups]) => groups.size > 1)
    const groups = new Set(ended.map(({ word }) => word))
    if (isFull) console.log(`${name}: ${count} in ${groups.size} groups, ${ended.length - count} handled twice`)
    expect(lost).toEqual([])
    expect(inTwo).toEqual([])
    // They were collected.
    expect(groups.size).toBeLessThan(count / 2)
    const { total, dead } = await scene.driver.stats(queue)
    expect([dead, total.enqueued]).toEqual([0, groups.size])
    expect(await place.leftovers(queue)).toEqual([])
  },
  180_000,
)
