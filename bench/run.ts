import { existsSync } from 'node:fs'
import { type BenchOptions, missed, roundsMin } from './measure'
import { benchFolder, must, productFolder, stopEverything } from './process'

/** `bun run bench [http] [auth] [store] [store-growth] [users] [queue] [queue-limits] [queue-growth] [schedule] [rpc] [start] [--rounds=11] [--seconds=2]`: tables on stdout, progress on stderr; 1 when a bar is missed. */
const benches: Record<string, () => Promise<(options: BenchOptions) => Promise<string>>> = {
  // Loaded after the packages that they import have been installed.
  http: async () => (await import('./http')).http,
  auth: async () => (await import('./auth')).auth,
  store: async () => (await import('./store')).store,
  'store-growth': async () => (await import('./store-growth')).storeGrowth,
  users: async () => (await import('./users')).userLists,
  queue: async () => (await import('./queue')).queue,
  'queue-limits': async () => (await import('./queue-limits')).queueLimits,
  'queue-growth': async () => (await import('./queue-growth')).queueGrowth,
  schedule: async () => (await import('./schedule')).schedule,
  rpc: async () => (await import('./rpc')).rpc,
  start: async () => (await import('./start')).start,
}

async function main(argv: readonly string[]): Promise<number> {
  const asked = argv.filter(word => !word.startsWith('--'))
  const unknown = asked.filter(name => !(name in benches))
  if (unknown.length > 0) throw new Error(`there is no benchmark ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}`)
  const options = { rounds: numberOf(argv, 'rounds', roundsMin), roundSeconds: numberOf(argv, 'seconds', 2) }
  await install()
  let exitCode = 0
  if (options.rounds < roundsMin) console.log(`Only ${options.rounds} rounds were asked for: these ratios are for a first look.\n`)
  for (const [name, load] of Object.entries(benches)) {
    if (asked.length > 0 && !asked.includes(name)) continue
    const bench = await load()
    const tables = await bench(options)
    console.log(`${tables}\n`)
    if (tables.includes(missed)) exitCode = 1
  }
  return exitCode
}

function numberOf(argv: readonly string[], name: string, fallback: number): number {
  const text = argv.find(word => word.startsWith(`--${name}=`))?.split('=')[1]
  const value = text === undefined ? fallback : Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 100) throw new Error(`--${name} is a whole number from 1 to 100`)
  return value
}

async function install(): Promise<void> {
  for (const folder of [productFolder, benchFolder]) {
    if (existsSync(`${folder}/node_modules`)) continue
    await must([process.execPath, 'install', '--frozen-lockfile'], { cwd: folder })
  }
  // Checked here, since the peers' packages are not there when the product is checked.
  await must([process.execPath, 'x', 'tsc', '--noEmit', '-p', benchFolder], { cwd: productFolder })
}

process.on('exit', stopEverything)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))

const exitCode = await main(process.argv.slice(2)).catch(thrown => {
  console.error(`bench: ${thrown instanceof Error ? thrown.message : thrown}`)
  return 1
})
process.exit(exitCode)
