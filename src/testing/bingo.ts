import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** The executable that ships. End-to-end tests run it, never the source. */
export const executable = resolve(import.meta.dir, '../../dist/bingo')

/** With the migrations of an empty database, on a machine that does much else. */
export const startTimeoutMs = 45_000

export interface LogLine extends Record<string, unknown> {
  level: string
  msg: string
}

/** A running process of the executable. */
export interface RunningBingo {
  /** Of the first role that listens: `http://127.0.0.1:41234`. */
  url: string
  urls: Record<string, string>
  ops: string
  /** Of the gRPC server, when a role has it: `127.0.0.1:41234`. */
  rpc: string
  pid: number
  log: LogLine[]
  stderr(): string
  /** Sends the signal and waits for the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>
  exited: Promise<number>
}

export interface BingoOptions {
  roles?: string
  args?: readonly string[]
  env?: Record<string, string>
  cwd?: string
}

/** Environment of a child: ours without its settings, so that a developer's own do not change a test. */
const cleanEnv = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BINGO_'))) as Record<string, string>

/** Tests ask more in a second than people do in a minute. Those of limits set them. */
const anyNumber = {
  BINGO_LIMIT_READ_PER_MINUTE: '0',
  BINGO_LIMIT_WRITE_PER_MINUTE: '0',
  BINGO_LIMIT_CREDENTIALS_PER_MINUTE: '0',
  BINGO_LIMIT_ANONYMOUS_PER_MINUTE: '0',
}

/** Starts the executable on free ports and waits until it is ready. */
export async function startBingo({ roles = 'api', args = [], env = {}, cwd }: BingoOptions = {}): Promise<RunningBingo> {
  // Free ports for all servers but those that a test names.
  const free = ['--http.port=0', '--admin.port=0', '--bot.port=0', '--rpc.port=0', '--ops.port=0'].filter(
    flag => !args.some(argument => argument.startsWith(flag.slice(0, -1))),
  )
  const child = Bun.spawn([executable, `--role=${roles}`, ...free, '--log.format=json', ...args], {
    env: { ...cleanEnv(), ...anyNumber, ...env },
    ...(cwd ? { cwd } : {}),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const log: LogLine[] = []
  const ready = Promise.withResolvers<void>()
  const urls: Record<string, string> = {}
  let ops = ''
  let rpc = ''
  const reading = eachLine(child.stdout, text => {
    const line = JSON.parse(text) as LogLine
    log.push(line)
    if (Array.isArray(line['listens'])) {
      const listens = line['listens'] as string[]
      if (listens[0]) urls[line.msg.split(' ')[0] ?? ''] = listens[0]
      rpc ||= listens.find(url => url.startsWith('grpc'))?.replace(/^grpcs?:\/\//, '') ?? ''
      ops = line['ops'] as string
    }
    if (line.msg === 'ready') ready.resolve()
  })
  let stderr = ''
  const complaining = eachLine(child.stderr, text => {
    stderr += `${text}\n`
  })
  const exited = child.exited.then(async code => {
    await Promise.all([reading, complaining])
    return code
  })
  const timer = setTimeout(() => ready.reject(new Error('not ready in time')), startTimeoutMs)
  try {
    await Promise.race([ready.promise, exited.then(code => Promise.reject(new Error(`exited with ${code}`)))])
  } catch (thrown) {
    child.kill('SIGKILL')
    throw new Error(`bingo did not start: ${(thrown as Error).message}\n${stderr}${JSON.stringify(log)}`)
  } finally {
    clearTimeout(timer)
  }
  return {
    url: Object.values(urls)[0] ?? '',
    urls,
    ops,
    rpc,
    pid: child.pid,
    log,
    stderr: () => stderr,
    exited,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      return exited
    },
  }
}

/** Runs a command of the executable to its end. */
export async function runBingo(args: readonly string[], { env = {}, cwd }: Pick<BingoOptions, 'env' | 'cwd'> = {}) {
  const child = Bun.spawn([executable, ...args], {
    env: { ...cleanEnv(), ...env },
    ...(cwd ? { cwd } : {}),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, code }
}

/** A folder that is gone after the test. */
export function temporaryFolder(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'bingo-test-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** The last one also when nothing ends it. */
export async function eachLine(stream: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  }
  if (rest) take(rest)
}
