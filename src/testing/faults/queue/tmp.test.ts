import { test } from 'bun:test'
import { openRedisPlace } from './redis-place'
import { openQueueScene } from './scene'
test('pickup after full', async () => {
  await using place = await openRedisPlace()
  await using scene = openQueueScene(place)
  await scene.work({ concurrency: 4 })
  for (let r = 0; r < 3; r++) {
  await place.driver.enqueue(scene.queue, Array.from({ length: 4 }, (_, n) => scene.newTask('note', { n, ms: 20 })))
  await scene.settled(10000)
  await Bun.sleep(100)
  const t = performance.now()
  const id = await scene.enqueue('note', { n: 9, ms: 0 })
  await scene.noted(e => e.step === 'begin' && e.id === id)
  console.log('pickup', performance.now() - t, await place.leftovers(scene.queue))
  }
}, 60000)
