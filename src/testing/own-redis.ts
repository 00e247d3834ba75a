import { freePort, redisAnswers, redisCommand, redisUrl } from './servers'
import { temporaryFolder } from './bingo'
import { until } from './conformance/cache-fixture'

/** A Redis of one test alone, which it may stop, kill and start again on its port, with its folder. */
export interface OwnRedis {
  url: string
  start(): Promise<void>
  /** `SIGKILL` waits until it is gone. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export async function ownRedis(): Promise<OwnRedis> {
  const folder = temporaryFolder()
  const port = freePort()
  const url = redisUrl(port)
  let child: Bun.Subprocess | undefined
  const own: OwnRedis = {
    url,
    async start() {
      child = Bun.spawn(redisCommand(port, folder.path), { stdout: 'ignore', stderr: 'ignore' })
      await until(() => redisAnswers(url))
    },
    async signal(name) {
      child?.kill(name)
      if (name === 'SIGKILL') await child?.exited
    },
    async [Symbol.asyncDispose]() {
      child?.kill('SIGKILL')
      await child?.exited
      folder[Symbol.dispose]()
    },
  }
  await own.start()
  return own
}
