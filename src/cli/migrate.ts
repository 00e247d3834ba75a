import { existsSync } from 'node:fs'
import { roles } from '@roles'
import { tablesOf } from '@/app'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import { exitCodes, StartError } from '@/core/error'
import type { DriverTools } from '@/infra/database/driver'
import { type MigrationStatus, migrateDown, migrateUp, migrationStatus } from '@/infra/database/migrate'
import { drift } from '@/infra/database/migrate/drift'
import { lockWaitSeconds } from '@/infra/database/migrate/lock'
import { type MigrationProgress, progressLine } from '@/infra/database/migrate/progress'
import { isEmbedded, sqlitePath } from '@/infra/database/open'
import { createLogOn } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openConfiguredDatabase } from '@/infra/ports'
import { migrations } from '@/migrations'
import { type Arguments, usage } from './arguments'
import { type Command, configOf } from './command'
import { version } from './version'

export const migrateCommand: Command = {
  name: 'migrate',
  usage: 'status|up|down [--json]',
  summary: 'Shows migrations and what differs from the code (1 when something does), applies all, or undoes the newest.',
  async run(args) {
    const [, action, ...rest] = args.words
    if (!isAction(action) || rest.length > 0) throw usage(`bingo migrate takes status, up or down`)
    return actions[action](args, configOf(args).config)
  },
}

type Action = 'status' | 'up' | 'down'
const isAction = (word: string | undefined): word is Action => word === 'status' || word === 'up' || word === 'down'

const actions: Record<Action, (args: Arguments, config: Config) => Promise<number>> = {
  async status(args, config) {
    const { statuses, differences } = hasNoFile(config) ? nothingYet(config) : await onDatabase(config, statusAndDrift)
    const lines = statuses.map(({ id, state, appliedAt }) => ({ id, state: appliedAt ?? state }))
    if (args.switches.has('json')) console.log(JSON.stringify({ migrations: lines, ...(differences && { differences }) }))
    else {
      show(lines)
      for (const difference of differences ?? []) console.log(`difference: ${difference}`)
    }
    const stuck = statuses.filter(({ state }) => state !== 'applied' && state !== 'pending')
    for (const { id, state } of stuck) console.error(`bingo: migration ${id} is ${state}; 'bingo migrate ${wayOn[state]}' says more`)
    if (differences && differences.length > 0)
      console.error(
        'bingo: the tables are not as this executable declares them; write the migration that is missing (bun run make:migration NAME), or mend them by hand',
      )
    return stuck.length > 0 || (differences ?? []).length > 0 ? exitCodes.failed : exitCodes.ok
  },
  async up(args, config) {
    const ids = await onDatabase(config, db => migrateUp(db, migrations, { progress }))
    return answer(args, 'applied', ids)
  },
  async down(args, config) {
    if (!hasNoFile(config)) return answer(args, 'undone', await onDatabase(config, db => migrateDown(db, migrations, { progress })))
    nothingYet(config)
    return answer(args, 'undone', undefined)
  },
}

const progress = (event: MigrationProgress) => console.error(progressLine(event))
const wayOn: Partial<Record<MigrationStatus['state'], Action>> = { 'half undone': 'down', 'half applied': 'up', 'out of order': 'up' }

interface Line {
  id: string
  state: string
}

const show = (lines: readonly Line[]) => lines.forEach(({ id, state }) => void console.log(`${id}  ${state}`))

function answer(args: Arguments, state: string, ids: readonly string[] | string | undefined): number {
  const lines = [ids ?? []].flat().map(id => ({ id, state }))
  if (args.switches.has('json')) console.log(JSON.stringify(lines))
  else show(lines)
  return exitCodes.ok
}

interface Shown {
  statuses: readonly MigrationStatus[]
  /** Undefined when something is pending: the tables cannot be as declared yet. */
  differences: readonly string[] | undefined
}

async function statusAndDrift(db: Database): Promise<Shown> {
  const statuses = await migrationStatus(db, migrations)
  const isCurrent = statuses.every(({ state }) => state === 'applied')
  return { statuses, differences: isCurrent ? await drift(db, tablesOf(roles)) : undefined }
}

/** Opening would make the file, and asking must change nothing. */
const hasNoFile = (config: Config) => isEmbedded(config) && !existsSync(sqlitePath(config))

function nothingYet(config: Config): Shown {
  console.error(`bingo: there is no database yet; ${sqlitePath(config)} is made by the first start, or by 'bingo migrate up'`)
  return { statuses: migrations.map(({ id }) => ({ id, state: 'pending', appliedAt: undefined })), differences: undefined }
}

/** A change of a large table may take hours, where a request's statement may not. */
const statementTimeoutMs = 12 * 60 * 60_000

/** Messages go to stderr, since stdout is for data. */
export const toolsOf = (config: Config): Pick<DriverTools, 'log' | 'metrics'> => ({
  log: createLogOn(line => process.stderr.write(line), config.log.level),
  metrics: createMetrics({ version, roles: [] }),
})

/** @throws StartError when migrations of this executable are missing */
export async function refuseOldTables(db: Database): Promise<void> {
  const old = (await migrationStatus(db, migrations)).filter(({ state }) => state !== 'applied')
  if (old.length === 0) return
  const which = old.map(({ id, state }) => (state === 'pending' ? id : `${id} (${state})`)).join(', ')
  throw new StartError(
    `the database's tables are old: ${which} ${old.length === 1 ? 'is' : 'are'} not applied; run 'bingo migrate up', or start with --migrate`,
  )
}

const onDatabase = <T>(config: Config, work: (db: Database) => Promise<T>): Promise<T> =>
  withMigrationDatabase(config, toolsOf(config), work)

export async function withMigrationDatabase<T>(
  config: Config,
  tools: Pick<DriverTools, 'log' | 'metrics'>,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const { replicaUrls: _, ...primary } = config.database
  // On SQLite it is how long another process's lock is waited for; a statement there takes as long as it takes.
  const queryTimeoutMs = isEmbedded(config) ? lockWaitSeconds * 1000 : statementTimeoutMs
  // That it is slow is no news.
  const wide = { ...config, database: { ...primary, poolSize: 1, queryTimeoutMs, slowQueryMs: 0, leakWarnMs: 0 } }
  const db = await openConfiguredDatabase(wide, tools)
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}
