import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import { migrateDown, migrateUp, migrationStatus } from '@/infra/database/migrate'
import type { DriverTools } from '@/infra/database/driver'
import { createLogOn } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openConfiguredDatabase } from '@/infra/ports'
import { migrations } from '@/migrations'
import { usage } from './arguments'
import { type Command, configOf } from './command'
import { version } from './version'

export const migrateCommand: Command = {
  name: 'migrate',
  usage: 'status|up|down [--json]',
  summary: 'Shows, applies or undoes (the newest) migrations.',
  async run(args) {
    const [, action, ...rest] = args.words
    if (!isAction(action) || rest.length > 0) throw usage(`bingo migrate takes status, up or down`)
    const { config } = configOf(args)
    const lines = await withMigrationDatabase(config, toolsOf(config), actions[action])
    if (args.switches.has('json')) console.log(JSON.stringify(lines))
    else for (const { id, state } of lines) console.log(`${id}  ${state}`)
    return 0
  },
}

type Action = 'status' | 'up' | 'down'
const isAction = (word: string | undefined): word is Action => word === 'status' || word === 'up' || word === 'down'

interface Line {
  id: string
  state: string
}

const actions: Record<Action, (db: Database) => Promise<Line[]>> = {
  status: async db => (await migrationStatus(db, migrations)).map(({ id, appliedAt }) => ({ id, state: appliedAt ?? 'pending' })),
  up: async db => (await migrateUp(db, migrations)).map(id => ({ id, state: 'applied' })),
  down: async db => {
    const id = await migrateDown(db, migrations)
    return id ? [{ id, state: 'undone' }] : []
  },
}

/** A change of a large table may take minutes, where a request's statement may not. */
const statementTimeoutMs = 10 * 60_000

/** Messages go to stderr, since stdout is for data. */
const toolsOf = (config: Config): Pick<DriverTools, 'log' | 'metrics'> => ({
  log: createLogOn(line => process.stderr.write(line), config.log.level),
  metrics: createMetrics({ version, roles: [] }),
})

export async function withMigrationDatabase<T>(
  config: Config,
  tools: Pick<DriverTools, 'log' | 'metrics'>,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const { replicaUrls: _, ...primary } = config.database
  // And it is no news when it does.
  const wide = {
    ...config,
    database: { ...primary, poolSize: 1, queryTimeoutMs: statementTimeoutMs, slowQueryMs: 0, leakWarnMs: 0 },
  }
  const db = await openConfiguredDatabase(wide, tools)
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}
