import { chmodSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type RunningBingo, startBingo, startTimeoutMs } from '../bingo'
import { freePort } from '../servers'

/**
 * The gateway of deploy/nginx.conf in front of API processes, all on loopback: the very file, with only addresses, folders and
 * the times that follow from a shorter drain exchanged.
 */
export const nginx = Bun.which('nginx', { PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin` })
export const gatewayConfig = resolve(import.meta.dir, '../../../deploy/nginx.conf')

/** Stands for BINGO_SHUTDOWN_DRAIN_MS of the image, ten times shorter, as are the gateway's times that go with it. */
export const drainMs = 500

export interface Gateway {
  url: string
  /** One line a request, as compose's log would show them. */
  accessLog(): Promise<Record<string, unknown>[]>
  stop(): Promise<number>
}

/** @param botPort where nobody listens, unless a test says otherwise */
export async function startGateway(folder: string, apiPorts: readonly [number, number], botPort = 1): Promise<Gateway> {
  const port = freePort()
  const exchanged: readonly (readonly [string, string])[] = [
    ['listen 8080 default_server;', `listen 127.0.0.1:${port} default_server;`],
    ['server api-1:8080 resolve ', `server 127.0.0.1:${apiPorts[0]} `],
    ['server api-2:8080 resolve ', `server 127.0.0.1:${apiPorts[1]} `],
    ['server bot:8082 resolve ', `server 127.0.0.1:${botPort} `],
    ['fail_timeout=10s;', `fail_timeout=1s;`],
    ['keepalive_timeout 4s;', 'keepalive_timeout 400ms;'],
    ['access_log /dev/stdout line;', `access_log ${folder}/access.log line;`],
    ['/tmp/nginx', `${folder}/nginx`],
  ]
  let config = await Bun.file(gatewayConfig).text()
  for (const [shipped, tested] of exchanged) {
    if (!config.includes(shipped)) throw new Error(`deploy/nginx.conf says nothing of ${JSON.stringify(shipped)}; this test exchanges it`)
    config = config.replaceAll(shipped, tested)
  }
  // Started by root, nginx works as another user, who has to get at the bodies it keeps there.
  chmodSync(folder, 0o755)
  const path = join(folder, 'nginx.conf')
  writeFileSync(path, config)
  const child = Bun.spawn([nginx ?? 'nginx', '-p', folder, '-e', 'stderr', '-c', path, '-g', 'daemon off;'], {
    stdout: 'ignore',
    stderr: Bun.file(join(folder, 'nginx.err')),
  })
  const url = `http://127.0.0.1:${port}`
  const deadline = performance.now() + startTimeoutMs
  // nginx announces nothing: it is there when it answers.
  while (!(await answers(`${url}/livez`))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`nginx did not start: ${await Bun.file(join(folder, 'nginx.err')).text()}`)
    }
    await Bun.sleep(10)
  }
  return {
    url,
    async accessLog() {
      const text = await Bun.file(join(folder, 'access.log')).text()
      // The last line may still be under way.
      return text
        .split('\n')
        .slice(0, -1)
        .map(line => JSON.parse(line) as Record<string, unknown>)
    },
    async stop() {
      child.kill('SIGTERM')
      return child.exited
    },
  }
}

const answers = (url: string) =>
  fetch(url).then(
    response => response.ok,
    () => false,
  )

/** A load is from one address, and of one service. */
const unlimited = Object.fromEntries(['READ', 'WRITE', 'CREDENTIALS', 'ANONYMOUS'].map(each => [`BINGO_LIMIT_${each}_PER_MINUTE`, '0']))

/** An API process on a port of the caller's choice, so that it can come back where it was; ready when this resolves. */
export const startApi = (port: number, database: string): Promise<RunningBingo> =>
  startBingo({
    args: [`--http.port=${port}`],
    env: { BINGO_DATABASE_URL: `sqlite:${database}`, BINGO_SHUTDOWN_DRAIN_MS: String(drainMs), ...unlimited },
  })
