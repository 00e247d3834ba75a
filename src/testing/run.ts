import { availableParallelism } from 'node:os'
import { type Batch, batchesOf } from './batches'
import { memoryFolder } from './memory-folder'
import { provision } from './provision'
import { type ServerName, serverVariables, sharedServer } from './servers'

/**
 * The test command: provides what is missing, checks, builds the executable and runs every test against it. Words after it
 * narrow the tests, as with `bun test`.
 */
interface Counts {
  passed: number
  failed: number
  skipped: number
}

async function main(filters: readonly string[]): Promise<number> {
  const startedAtMs = performance.now()
  const missing = await provision()
  if (missing.length > 0) {
    console.error(`\n*** SKIPPED, since it is not on this machine: ${missing.join('; ')} ***\n`)
    if (process.env['CI'] === 'true') return close({ passed: 0, failed: 1, skipped: 0 })
  }
  const provisionedAtMs = performance.now()
  using folder = memoryFolder()
  if (folder) process.env['TMPDIR'] = folder.path
  // They start while the sources are checked.
  const starting = Promise.all(startedFirst.map(async name => [name, await sharedServer(name)] as const))
  starting.catch(() => {})
  for (const script of ['check', 'build']) {
    if ((await run(['bun', 'run', script])).code !== 0) return close({ passed: 0, failed: 1, skipped: 0 })
  }
  const servers = await starting
  const urls = servers.flatMap(([name, server]) => (server ? [[serverVariables[name], server.url]] : []))
  // The client of the tests may have 1,000 requests under way.
  const env = { ...process.env, ...Object.fromEntries(urls), BUN_CONFIG_MAX_HTTP_REQUESTS: '2000' }
  const testsFromMs = performance.now()
  const counts = await runTests(filters, env)
  await Promise.all(servers.map(([, server]) => server?.stop()))
  const spans = [provisionedAtMs - startedAtMs, testsFromMs - provisionedAtMs, performance.now() - testsFromMs].map(seconds)
  console.error(`test: ${spans[0]} for what was missing, ${spans[1]} to check and build, ${spans[2]} for the tests`)
  if (counts.passed === 0) counts.failed++
  return close(counts)
}

/** What many suites need is started before them, once for all. */
const startedFirst: readonly ServerName[] = ['mariadb', 'mysql', 'redis', 'redis8', 'valkey', 'redisCluster']

/** Of a test that says none: long, since batches are in each other's way. */
const timeoutMs = 30_000
const testing = ['bun', 'test', `--timeout=${timeoutMs}`]
/** Batches that run at the same time. Tests wait as much as they work, so two for each processor; more would make each too slow. */
const atOnce = Math.min(2 * availableParallelism(), 6)

/** All tests, batch by batch, each in a process of its own. What a batch says is shown when it has ended. */
async function runTests(filters: readonly string[], env: typeof process.env): Promise<Counts> {
  if (filters.length > 0) return judged(await run([...testing, ...filters], env))
  const waiting = batchesOf([...new Bun.Glob('{src,roles}/**/*.test.ts').scanSync('.')])
  const total: Counts = { passed: 0, failed: 0, skipped: 0 }
  const failures: string[] = []
  const failed: { batch: Batch; counts: Counts; paths: string[] }[] = []
  const add = (counts: Counts) => {
    for (const name of ['passed', 'failed', 'skipped'] as const) total[name] += counts[name]
  }
  async function runBatch(batch: Batch): Promise<{ counts: Counts; paths: string[] }> {
    const fromMs = performance.now()
    const outcome = await run([...testing, ...batch.paths], env, false)
    const counts = judged(outcome)
    process.stderr.write(outcome.output)
    const took = [performance.now() - fromMs, outcome.cpuMs].map(seconds)
    console.error(`test: ${batch.name}: ${took[0]}, ${took[1]} of processors, exit code ${outcome.code}\n`)
    if (counts.failed > 0) failures.push(`test: ${batch.name} failed:\n${failuresIn(outcome.output)}`)
    return { counts, paths: failedPathsIn(outcome.output, batch.paths) }
  }
  async function work(): Promise<void> {
    for (let batch = waiting.shift(); batch; batch = waiting.shift()) {
      const { counts, paths } = await runBatch(batch)
      if (counts.failed > 0) failed.push({ batch, counts, paths })
      else add(counts)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  for (const { batch, counts, paths } of failed) {
    if (failed.length > runAgainMax) add(counts)
    else {
      const { counts: again } = await runBatch({ name: `${batch.name} (again, alone)`, paths })
      const isAll = paths === batch.paths
      add(isAll ? again : { ...counts, passed: counts.passed + counts.failed - again.failed, failed: again.failed })
    }
  }
  // At the end, where who looks at a long log finds it; also what failed beside others and passed alone.
  for (const failure of failures) console.error(`\n${failure}`)
  return total
}

/**
 * The files that failed of so many batches are run once more, alone: a limit in time may be missed for want of a processor among others.
 * What fails then has failed; what passes is said at the end all the same. With more than this, the fault is not the neighbours'.
 */
const runAgainMax = 3

/** The files with a failed test; all when the runner has not gone through them all, or says of none that it failed. */
function failedPathsIn(output: string, paths: string[]): string[] {
  const files = Number(/^Ran \d+ tests? across (\d+) files?\./m.exec(output)?.[1])
  const failed = new Set<string>()
  let path = ''
  for (const line of output.split('\n')) {
    if (/^\d+ tests? failed:$/.test(line)) break
    if (line.endsWith('.test.ts:')) path = line.slice(0, -1)
    if (line.startsWith('(fail)')) failed.add(path)
  }
  const found = paths.filter(each => failed.has(each))
  return files === paths.length && found.length > 0 && found.length === failed.size ? found : paths
}

/** What the runner said of each failed test, without what passed. */
function failuresIn(output: string): string {
  const said = output.split('\n')
  const kept: string[] = []
  let from = 0
  for (const [at, line] of said.entries()) {
    // What the runner says once more at the end.
    if (/^\d+ tests? failed:$/.test(line)) break
    if (line.startsWith('(fail)')) kept.push(...said.slice(Math.max(from, at - failureLinesMax), at + 1))
    if (/^\((pass|fail|skip)\)|\.test\.ts:$/.test(line)) from = at + 1
  }
  return (kept.length > 0 ? kept : said.slice(-failureLinesMax)).join('\n')
}

const failureLinesMax = 60

/** A runner that fails without a failed test, or has none to run, has not passed. */
function judged({ code, output }: Outcome): Counts {
  const counts = countsIn(output)
  if ((code !== 0 && counts.failed === 0) || counts.passed + counts.skipped === 0) counts.failed++
  return counts
}

interface Outcome {
  code: number
  output: string
  /** Of processors, for it and the processes that it has started and seen end; not for shared servers. */
  cpuMs: number
}

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`

function close({ passed, failed, skipped }: Counts): number {
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return failed > 0 ? 1 : 0
}

/** The runner ends with ` 12 pass`, ` 1 skip`, ` 0 fail`, each on a line. */
function countsIn(output: string): Counts {
  const count = (word: string) => [...output.matchAll(new RegExp(`^ *(\\d+) ${word}$`, 'gm'))].reduce((sum, [, n]) => sum + Number(n), 0)
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') }
}

/** Runs a command, and keeps what it says on stderr. @param isShown while it runs; otherwise what it says on stdout is kept, too */
async function run(command: string[], env = process.env, isShown = true): Promise<Outcome> {
  const child = Bun.spawn(command, { env, stdout: isShown ? 'inherit' : 'pipe', stderr: 'pipe' })
  let output = ''
  async function keep(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      if (isShown) process.stderr.write(chunk)
      output += decoder.decode(chunk, { stream: true })
    }
  }
  await Promise.all([child.stderr, child.stdout].map(stream => stream && keep(stream)))
  const code = await child.exited
  return { code, output, cpuMs: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000 }
}

process.exit(await main(process.argv.slice(2)))
