import { appendFileSync, chmodSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { executable, type LogLine } from './bingo'

/**
 * The gateway of deploy/nginx.conf in front of API processes, all on loopback: the very file, with only addresses, folders and
 * the times that follow from a shorter drain exchanged.
 */
export const nginx = Bun.which('nginx', { PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin` })
export const gatewayConfig = resolve(import.meta.dir, '../../deploy/nginx.conf')

/** Stands for BINGO_SHUTDOWN_DRAIN_MS of the image, ten times shorter, as are the gateway's times that go with it. */
export const drainMs = 500
const startTimeoutMs = 15_000

export interface Gateway {
  url: string
  /** One line a request, as compose's log would show them. */
  accessLog(): Promise<Record<string, unknown>[]>
  stop(): Promise<number>
}

export async function startGateway(folder: string, apiPorts: readonly [number, number]): Promise<Gateway> {
  const port = freePort()
  const exchanged: readonly (readonly [string, string])[] = [
    ['listen 8080 default_server;', `listen 127.0.0.1:${port} default_server;`],
    ['server api-1:8080 resolve ', `server 127.0.0.1:${apiPorts[0]} `],
    ['server api-2:8080 resolve ', `server 127.0.0.1:${apiPorts[1]} `],
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
      return text
        .split('\n')
        .filter(Boolean)
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

export interface Api {
  /** Sends SIGTERM and waits for the exit code. */
  stop(): Promise<number>
}

/** An API process on a port of the caller's choice, so that it can come back where it was; ready when this resolves. */
export async function startApi(port: number, database: string): Promise<Api> {
  const child = Bun.spawn([executable, '--role=api', `--http.port=${port}`, '--ops.port=0', '--log.format=json'], {
    env: { ...withoutSettings(), BINGO_DATABASE_URL: `sqlite:${database}`, BINGO_SHUTDOWN_DRAIN_MS: String(drainMs) },
    stdout: 'pipe',
    stderr: 'ignore',
  })
  const ready = Promise.withResolvers<void>()
  const read = async () => {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      if (process.env['DEPLOY_LOG']) appendFileSync(process.env['DEPLOY_LOG'], `${lines.join('\n')}\n`)
      if (lines.some(line => line !== '' && (JSON.parse(line) as LogLine).msg === 'ready')) ready.resolve()
    }
    ready.reject(new Error(`the API process on port ${port} ended with ${await child.exited}`))
  }
  read()
  const timer = setTimeout(() => ready.reject(new Error('the API process was not ready in time')), startTimeoutMs)
  try {
    await ready.promise
  } catch (thrown) {
    child.kill('SIGKILL')
    throw thrown
  } finally {
    clearTimeout(timer)
  }
  return {
    async stop() {
      child.kill('SIGTERM')
      return child.exited
    },
  }
}

const withoutSettings = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BINGO_')))

/** A port that nobody has at this moment. */
export function freePort(): number {
  const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = server
  server.stop(true)
  return port
}
