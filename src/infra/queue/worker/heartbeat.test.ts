import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join, resolve } from 'node:path'
import type { Config } from '@/core/config/settings'
import { handle } from '@/core/queue/task'
import { temporaryFolder } from '@/testing/bingo'
import { until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { leaseMs, onEachStore, type Scene } from '@/testing/worker'

const count = numbered()
// Relative, since where entrypoints are in an executable is decided by how they were named.
const source = 'src/testing/blocking-worker.ts'
const buildMs = 60_000
const blockMs = leaseMs * 3
/** On a machine that does much else a thread may take a second to start. */
const roomyMs = leaseMs * 2

const folder = temporaryFolder()
const executable = join(folder.path, 'blocking-worker')
afterAll(() => folder[Symbol.dispose]())

/** As the product is built, with another main file. */
beforeAll(async () => {
  const { scripts } = await Bun.file('package.json').json()
  const words: string[] = scripts.build.slice(scripts.build.indexOf('bun build')).split(/\s+/).slice(1)
  const own = words.map(word => (word === 'src/main.ts' ? source : word === 'dist/bingo' ? executable : word))
  const build = Bun.spawn([process.execPath, ...own], { stdout: 'ignore', stderr: 'pipe' })
  if ((await build.exited) !== 0) throw new Error(await build.stderr.text())
}, buildMs)

/** The worker in a process of its own, whose handler blocks its thread. */
function spawnWorker(command: readonly string[], queue: string, config: Config, where: 'here' | 'thread') {
  const env = {
    ...process.env,
    BINGO_DATABASE_URL: config.database.url,
    ...(config.redis.url && { BINGO_REDIS_URL: config.redis.url, BINGO_REDIS_PREFIX: config.redis.prefix }),
  }
  const child = Bun.spawn([...command, queue, String(leaseMs), String(blockMs), where], {
    // Not where the sources are: the thread is to be found wherever the process was started.
    ...{ env, cwd: folder.path, stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' },
  })
  return {
    /** @returns what it has said */
    async stop() {
      child.stdin.end()
      const [said, complaints, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
      expect([code, complaints]).toEqual([0, complaints])
      return { said: said.trim().split('\n'), complaints }
    },
  }
}

/** Reaps without end, as a rival does who wants the task. */
function reaping({ rival, queue }: Pick<Scene, 'rival' | 'queue'>, ofMs = leaseMs): Disposable {
  const timer = setInterval(() => rival.reap(queue, { leaseMs: ofMs, crashesMax: 3 }).catch(() => {}), 100)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

onEachStore('a handler that blocks its thread', newScene => {
  for (const [how, command] of [
    ['from source', [process.execPath, resolve(source)]],
    ['as an executable', [executable]],
  ] as const) {
    test(`loses no lease, ${how}`, async () => {
      const scene = newScene()
      const { enqueue, config, driver, queue } = scene
      const child = spawnWorker(command, queue, config, 'thread')
      await enqueue(count)
      using _ = reaping(scene)
      await until(async () => (await driver.stats(queue)).total.done === 1, 20_000)
      const { said, complaints } = await child.stop()
      expect(said).toEqual(['started', 'attempt 1'])
      expect(complaints).not.toContain('told to end')
      expect((await driver.stats(queue)).total.crashed).toBe(0)
    }, 30_000)
  }

  test('loses its lease when heartbeats come from its own thread, so that the tests before this one could fail', async () => {
    const scene = newScene()
    const { enqueue, config, driver, queue } = scene
    const child = spawnWorker([process.execPath, resolve(source)], queue, config, 'here')
    await enqueue(count)
    using _ = reaping(scene)
    await until(async () => (await driver.stats(queue)).total.crashed === 1, 20_000)
    await child.stop()
  }, 30_000)
})

onEachStore('the thread of the heartbeats', newScene => {
  test('is started again when it has died, and told what runs', async () => {
    const scene = newScene()
    const { enqueue, work, config, driver, queue } = scene
    const made: Worker[] = []
    const Original = globalThis.Worker
    globalThis.Worker = class extends Original {
      constructor(...said: ConstructorParameters<typeof Original>) {
        super(...said)
        made.push(this)
      }
    }
    try {
      let ran = 0
      const long = handle(count, async () => {
        ran++
        await Bun.sleep(roomyMs * 2)
      })
      await enqueue(count)
      await using working = await work([long], { heartbeats: { config }, leaseMs: roomyMs })
      await until(() => ran === 1)
      made[0]?.terminate()
      using _ = reaping(scene, roomyMs)
      await until(async () => (await driver.stats(queue)).total.done === 1, 20_000)
      expect(ran).toBe(1)
      expect(made).toHaveLength(2)
      expect((await driver.stats(queue)).total.crashed).toBe(0)
      expect(working.metrics.count('bingo_task_heartbeat_restarts_total')).toBe(1)
    } finally {
      globalThis.Worker = Original
    }
  }, 20_000)

  test('tells of a cancellation', async () => {
    const { enqueue, work, config, driver, rival, queue } = newScene()
    let running = 0
    const long = handle(count, async (_, { signal }) => {
      running++
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const deaf = { ...driver, watch: (name: string, { wake }: { wake(): void }) => driver.watch(name, { wake, cancelled: () => {} }) }
    await using working = await work([long], { driver: deaf, heartbeats: { config } })
    const [id = ''] = await enqueue(count)
    await until(() => running === 1)
    await rival.cancel(queue, [id])
    await until(() => working.ended('cancelled') === 1)
  })
})
