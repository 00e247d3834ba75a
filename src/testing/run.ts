import { provision } from './provision'
import { serverVariables, sharedServer, startedFirst } from './servers'

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
  const started = performance.now()
  const missing = await provision()
  if (missing.length > 0) {
    console.error(`\n*** SKIPPED, since it is not on this machine: ${missing.join('; ')} ***\n`)
    if (process.env['CI'] === 'true') return close({ passed: 0, failed: 1, skipped: 0 })
  }
  const provisioned = performance.now()
  for (const script of ['check', 'build']) {
    if ((await run(['bun', 'run', script])).code !== 0) return close({ passed: 0, failed: 1, skipped: 0 })
  }
  const servers = await Promise.all(startedFirst.map(async name => [name, await sharedServer(name)] as const))
  const urls = servers.flatMap(([name, server]) => (server ? [[serverVariables[name], server.url]] : []))
  // The client of the tests may have 1,000 requests under way.
  const env = { ...process.env, ...Object.fromEntries(urls), BUN_CONFIG_MAX_HTTP_REQUESTS: '2000' }
  const { code, output } = await runTests(filters, env)
  await Promise.all(servers.map(([, server]) => server?.stop()))
  const counts = countsIn(output)
  // A runner that fails without a failed test, or runs none, has not passed.
  if ((code !== 0 && counts.failed === 0) || counts.passed === 0) counts.failed++
  console.error(`test: ${seconds(provisioned - started)} for what was missing, ${seconds(performance.now() - provisioned)} for the rest`)
  return close(counts)
}

/** What mostly waits, for leases, servers and slow clients, runs beside the others. */
const besides = [
  /^src\/testing\/e2e\/slow-clients\.test\.ts$/,
  /^src\/(testing\/faults|infra\/(queue|schedule|cache|database\/replicas))\//,
]

/** Of a test that says none: long, since the groups are in each other's way. */
const timeoutMs = 30_000
const testing = ['bun', 'test', `--timeout=${timeoutMs}`]

/** All tests: those of one group one after another, the groups at the same time. */
async function runTests(filters: readonly string[], env: typeof process.env): Promise<Outcome> {
  if (filters.length > 0) return run([...testing, ...filters], env)
  const all = [...new Bun.Glob('{src,roles}/**/*.test.ts').scanSync('.')].toSorted()
  const groups = Map.groupBy(all, path => besides.findIndex(beside => beside.test(path)))
  const outcomes = await Promise.all([...groups.values()].map(paths => run([...testing, ...paths], env)))
  return { code: Math.max(...outcomes.map(({ code }) => code)), output: outcomes.map(({ output }) => output).join('\n') }
}

interface Outcome {
  code: number
  output: string
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

/** Shows what a command says while it runs, and keeps what it says on stderr. */
async function run(command: string[], env = process.env): Promise<Outcome> {
  const child = Bun.spawn(command, { env, stdout: 'inherit', stderr: 'pipe' })
  let output = ''
  const decoder = new TextDecoder()
  for await (const chunk of child.stderr) {
    process.stderr.write(chunk)
    output += decoder.decode(chunk, { stream: true })
  }
  return { code: await child.exited, output }
}

process.exit(await main(process.argv.slice(2)))
