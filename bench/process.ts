import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Subprocess } from 'bun'
import { progress } from './measure'

/** Processes and folders of a benchmark. Whatever is started here is stopped by its own pid, also when something fails. */
export const benchFolder: string = import.meta.dir
export const productFolder: string = dirname(benchFolder)

const stopTimeoutMs = 10_000
const commandTimeoutMs = 300_000
const running = new Set<Subprocess>()
const folders = new Set<string>()

export interface Spawn {
  cwd?: string
  env?: Record<string, string | undefined>
  /** `load` and databases stay off the core of the server that is measured. */
  core?: 'server' | 'load'
  stdin?: 'ignore' | 'pipe'
  stdout?: 'ignore' | 'pipe' | Bun.BunFile
  stderr?: 'ignore' | 'inherit'
}

const canPin = availableParallelism() >= 2 && Bun.which('taskset') !== null
const coresOf = { server: '0', load: `1-${availableParallelism() - 1}` }
/** Said beside the tables, since it decides what the numbers mean. */
export const pinning = canPin ? 'servers on core 0, load and database on the others' : 'nothing pinned to cores'

/** Starts a process that lives until it is stopped. */
export function start(
  command: readonly string[],
  { cwd = productFolder, env, core, stdin = 'ignore', stdout = 'ignore', stderr = 'inherit' }: Spawn = {},
): Subprocess {
  const pinned = core && canPin ? ['taskset', '-c', coresOf[core], ...command] : [...command]
  const child = Bun.spawn(pinned, { cwd, env: { ...ambient(), ...env }, stdin, stdout, stderr })
  running.add(child)
  child.exited.then(() => running.delete(child))
  return child
}

/** Runs a command to its end. @returns what it wrote to stdout @throws when it fails or takes minutes */
export async function must(command: readonly string[], options: Spawn = {}): Promise<string> {
  const child = start(command, { ...options, stdout: 'pipe' })
  const timer = setTimeout(() => child.kill('SIGKILL'), commandTimeoutMs)
  const text = await new Response(child.stdout as ReadableStream).text()
  const code = await child.exited
  clearTimeout(timer)
  if (code !== 0) throw new Error(`${command.join(' ')} ended with code ${code}\n${text}`)
  return text
}

export async function stop(child: Subprocess): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  await child.exited
  clearTimeout(timer)
}

/** For the end of the process: what is still there by then is there because something failed. */
export function stopEverything(): void {
  for (const child of running) child.kill('SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

export function temporaryFolder(parent: string = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'bingo-bench-'))
  folders.add(folder)
  return folder
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const server = createServer()
  server.once('error', reject)
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    server.close(() => resolve(port))
  })
  return promise
}

/** Asks again and again until it is there. */
export async function until(what: string, isThere: () => Promise<boolean>, timeoutMs: number, pauseMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline) {
    if (await isThere().catch(() => false)) return
    if (pauseMs > 0) await Bun.sleep(pauseMs)
  }
  throw new Error(`${what} did not come within ${timeoutMs} ms`)
}

/** User and system time that a process has used, in microseconds. */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // Field 2, the name, may hold spaces; utime and stime are fields 14 and 15 (proc_pid_stat(5)), in ticks of 10 ms.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** Memory that a process has resident, in MB of 1,000,000 bytes. */
export function residentMegabytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return (Number(kibibytes) * 1024) / 1_000_000
}

/** Compiles an entry as the product is compiled: with the flags of its own build script. @returns the executable */
export async function compiled(entry: string, name: string): Promise<string> {
  const { scripts } = (await Bun.file(`${productFolder}/package.json`).json()) as { scripts: { build: string } }
  const flags = scripts.build
    .slice(scripts.build.indexOf('bun build'))
    .split(/\s+/)
    .filter(word => word.startsWith('--') && word !== '--outfile')
  const outfile = `${benchFolder}/dist/${name}`
  progress(`compiling ${entry}`)
  await must([process.execPath, 'build', ...flags, `${benchFolder}/${entry}`, '--outfile', outfile])
  return outfile
}

const limitsOf = (perMinute: string) =>
  Object.fromEntries(['READ', 'WRITE', 'CREDENTIALS', 'ANONYMOUS'].map(kind => [`BINGO_LIMIT_${kind}_PER_MINUTE`, perMinute]))
/** Limits of requests that no load reaches: they are asked all the same. */
export const unlimited = limitsOf('10000000')
/** No limits. */
export const uncounted = limitsOf('0')

/** Our environment without settings of bingo, which would change what is measured. */
const ambient = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BINGO_')))
