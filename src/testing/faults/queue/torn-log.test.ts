import { expect } from 'bun:test'
import { testOn } from '../../backings'
import { isFull } from '../scene'
import { appendedFile, tear, tearAt } from './append-only-file'
import { fsck } from './fsck'
import { openRedisPlace } from './redis-place'
import { eventually, openQueueScene, type QueueScene } from './scene'

/** A machine loses its power: the end of what Redis has logged is missing, from the midst of a script on. */
const rounds = isFull ? 40 : 2
const leaseMs = 1000
const settleLimitMs = 30_000
const toldWithinMs = 10_000

testOn(
  'redis',
  'A log that is torn in the midst of a script leaves no task stuck, and loses only what had not reached the disk',
  async () => {
    await using place = await openRedisPlace()
    await using scene = openQueueScene(place, { leaseMs })
    const { driver, proxy } = place
    const { queue } = scene
    const accepted = new Set<string>()
    /** Of which the log did not tell any more. */
    const unheard = new Set<string>()
    const left: number[] = []
    let isOver = false
    await Promise.all([scene.work(), scene.work()])
    const producing = Promise.all(Array.from({ length: 2 }, () => produce(scene, accepted, () => isOver)))

    for (let round = 0; round < rounds; round++) {
      await Bun.sleep(300 + Math.random() * 300)
      // Nothing comes while nobody listens: what has been said is in the file.
      proxy.refuse(true)
      await place.server.kill()
      const torn = tear(appendedFile(place.folder), 40)
      left.push(torn.left)
      for (const { words } of torn.lost) {
        for (const word of words) if (word.startsWith(place.keyOf(queue, 'e:'))) unheard.add(word.slice(place.keyOf(queue, 'e:').length))
      }
      await place.server.start()
      proxy.refuse(false)
      await Bun.sleep(200 + Math.random() * 200)
      await place.killAndStart()
    }
    isOver = true
    await producing
    await scene.settled(settleLimitMs)

    // The workers check the queue after each start.
    const isChecked = async () => (await place.raw.hget(place.keyOf(queue, 'm'), 'checkAfter')) === null
    // Whoever was told to may have lost the answer, or the connection midway: ten minutes later somebody is told again. They pass here.
    await eventually(isChecked, toldWithinMs, () => 'nobody').catch(() => place.raw.hset(place.keyOf(queue, 'm'), 'checkAfter', '1'))
    await eventually(isChecked, settleLimitMs, () => 'the queue was not checked')
    await scene.settled(settleLimitMs)
    const mended = scene.workers.flatMap(({ log }) =>
      log.filter(({ message }) => message.includes('was mended')).map(({ counts }) => counts),
    )

    const ended = new Set(scene.ledger().flatMap(({ step, id }) => (step === 'end' ? [id] : [])))
    const stuck = [...accepted].filter(id => !ended.has(id) && !unheard.has(id))
    const lost = [...accepted].filter(id => !ended.has(id) && unheard.has(id))
    const found = await fsck(driver, queue, { fix: true, leaseMs })
    await scene.settled(settleLimitMs)
    const { dead } = await driver.stats(queue)
    console.log(
      `${rounds} torn logs, each with two restarts, ${left.filter(count => count > 0).length} with half a script: ${accepted.size} tasks, ` +
        `${stuck.length} stuck, ${lost.length} lost of ${unheard.size} that had not reached the disk, ${dead} dead letters, ` +
        `mended by the workers ${JSON.stringify(sumOf(mended))}, ${found.length} findings afterwards`,
    )
    expect(stuck).toEqual([])
    expect(found.filter(({ what }) => what.includes('in no place'))).toEqual([])
    expect(await fsck(driver, queue, { fix: false, leaseMs })).toEqual([])
    for (const { id } of (await driver.list(queue, 'dead', 1000)).tasks) await driver.remove(queue, [id])
    expect(await place.leftovers(queue)).toEqual([])
  },
  isFull ? 300_000 : 180_000,
)

testOn(
  'redis',
  'A claim of which a torn log runs half, after others have claimed the same: what it takes from its line is found by the check that follows',
  async () => {
    await using place = await openRedisPlace()
    const { driver, proxy } = place
    const claim = async (queue: string, count: number, lease: number) => {
      const nonce = crypto.randomUUID().slice(0, 16)
      const { claimed } = await driver.exchange(queue, { claim: { worker: 'host:1', nonce, count, leaseMs: lease } })
      return claimed.map(({ id, attempt }) => ({ id, attempt, nonce, outcome: 'done' as const }))
    }
    let size = 0
    let found = 0
    for (let left = 0; left <= size; left++) {
      await using scene = openQueueScene(place, { queue: `half-${left}` })
      const { queue } = scene
      const ids = Array.from({ length: 20 }, (_, i) => `task-${String(i).padStart(2, '0')}`)
      await driver.reap(queue, { leaseMs: 1, crashesMax: 3 })
      await driver.enqueue(
        queue,
        ids.map((id, i) => scene.newTask('quit', {}, { id, priority: i % 2 === 0 ? 4 : 6 })),
      )
      await claim(queue, 5, 60_000)
      proxy.refuse(true)
      await place.server.kill()
      tearAt(appendedFile(place.folder), 0, of => {
        size = of
        return left
      })
      await place.server.start()
      proxy.refuse(false)
      const done = new Set<string>()
      const work = async (count: number) => {
        const finish = await claim(queue, count, 60_000)
        await driver.exchange(queue, { finish })
        for (const { id } of finish) done.add(id)
      }
      await work(4)
      await place.killAndStart()
      // What half a claim has is nobody's, until its lease ends.
      const act = place.keyOf(queue, 'act')
      for (const id of await place.raw.zrange(act, '0', '-1')) await place.raw.zadd(act, 'XX', '1', id)
      expect((await driver.reap(queue, { leaseMs: 1, crashesMax: 3 })).isCheckDue).toBe(true)
      await Bun.sleep(5)
      expect((await driver.reap(queue, { leaseMs: 1, crashesMax: 3 })).isCheckDue).toBeUndefined()
      found += (await fsck(driver, queue, { fix: true, leaseMs })).length
      expect(await place.raw.hget(place.keyOf(queue, 'm'), 'checkAfter')).toBeNull()
      for (let i = 0; i < 4; i++) await work(20)
      expect([left, ...[...done].toSorted()]).toEqual([left, ...ids])
      expect([left, await fsck(driver, queue, { fix: false, leaseMs })]).toEqual([left, []])
      expect([left, await place.leftovers(queue)]).toEqual([left, []])
    }
    expect(size).toBeGreaterThan(3)
    expect(found).toBeGreaterThan(0)
  },
)

/** @param counts as the workers have logged them */
function sumOf(counts: readonly unknown[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const each of counts) {
    for (const [what, count] of Object.entries(each as Record<string, number>)) sum[what] = (sum[what] ?? 0) + count
  }
  return sum
}

/** Of every sort: what succeeds, fails once, gives up, waits, has a unique key, and is kept. */
async function produce(scene: QueueScene, accepted: Set<string>, isOver: () => boolean): Promise<void> {
  const below = (count: number) => Math.floor(Math.random() * count)
  for (let n = 0; !isOver(); n++) {
    const over = () => ({
      isIdKept: n % 2 === 0,
      priority: below(10),
      delayMs: below(3) === 0 ? below(300) : 0,
      ...(below(4) === 0 && { unique: { key: crypto.randomUUID().slice(0, 22), forMs: 60_000 } }),
    })
    const tasks = [
      ...Array.from({ length: 4 }, () => scene.newTask('note', { n, ms: below(30) }, over())),
      scene.newTask('fail', { times: 1 }, over()),
      ...(n % 10 === 0 ? [scene.newTask('quit', {}, over())] : []),
    ]
    const replies = await scene.driver.enqueue(scene.queue, tasks).catch(() => [])
    for (const { id } of replies) accepted.add(id)
    await Bun.sleep(25)
  }
}
