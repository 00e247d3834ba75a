import { Glob } from 'bun'
import { Redis } from 'ioredis'
import type { Database } from '@/core/database'

/** Secrets that are sent through a system, to see where they turn up. */
export interface Canaries {
  /** Those that are to be looked for. @param name of the kind, which is said when it is found */
  add(name: string, secret: string): void
  /** Names of those that stand in a text: as they are, or in any of the ways in which bytes are spelled. */
  foundIn(text: string): string[]
  readonly count: number
}

export function canaries(): Canaries {
  const spellings = new Map<string, string>()
  return {
    add(name, secret) {
      if (secret.length < 12) throw new Error(`${name} is too short to be told from other text`)
      for (const spelling of spellingsOf(secret)) spellings.set(spelling, name)
    },
    foundIn: text => [...new Set([...spellings].flatMap(([spelling, name]) => (text.includes(spelling) ? [name] : [])))],
    get count() {
      return spellings.size
    },
  }
}

/** Base64 depends on where in the text it begins: of each of the three places what does not depend on its neighbors. */
function spellingsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const within = [0, 1, 2].map(shift => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
    return text.slice(shift === 0 ? 0 : 4, Math.floor((text.length - 4) / 4) * 4)
  })
  const urlSafe = within.map(text => text.replaceAll('+', '-').replaceAll('/', '_'))
  const hex = bytes.toString('hex')
  return [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), hex, hex.toUpperCase(), ...within, ...urlSafe]
}

/** Every column of every table, by table. */
export async function everyRow(db: Database): Promise<[string, string][]> {
  const isSqlite = db.dialect.name === 'sqlite'
  const names = isSqlite
    ? `select name as "name" from sqlite_master where type = 'table' and name not like 'sqlite_%'`
    : 'select table_name as "name" from information_schema.tables where table_schema = database()'
  const tables = (await db.all(names, [], { from: 'primary' })).map(({ name }) => String(name))
  return Promise.all(
    tables.map(async table => {
      const rows = await db.all(`select * from "${table}"`, [], { from: 'primary' })
      const values = rows.flatMap(row =>
        Object.values(row).map(value => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value))),
      )
      return [`table ${table}`, values.join('\n')] as [string, string]
    }),
  )
}

/** Every file of a folder, as bytes: also what a database has deleted, and not yet written over. */
export async function everyFile(folder: string): Promise<[string, string][]> {
  const paths = [...new Glob('**/*').scanSync({ cwd: folder, dot: true })]
  return Promise.all(
    paths.map(
      async path => [`file ${path}`, Buffer.from(await Bun.file(`${folder}/${path}`).arrayBuffer()).toString('latin1')] as [string, string],
    ),
  )
}

/** Every value of every key that begins so. */
export async function everyKey(url: string, prefix: string): Promise<[string, string][]> {
  const redis = new Redis(url)
  const found: [string, string][] = []
  for await (const keys of redis.scanStream({ match: `${prefix}*`, count: 1000 }))
    for (const key of keys as string[]) found.push([`key ${key}`, `${key}\n${JSON.stringify(await keptAt(redis, key))}`])
  redis.disconnect()
  return found
}

async function keptAt(redis: Redis, key: string): Promise<unknown> {
  const type = await redis.type(key)
  const shown = (value: unknown): unknown =>
    Buffer.isBuffer(value)
      ? value.toString('latin1')
      : Array.isArray(value)
        ? value.map(shown)
        : value && typeof value === 'object'
          ? Object.entries(value).map(shown)
          : value
  if (type === 'string') return shown(await redis.getBuffer(key))
  if (type === 'hash') return shown(await redis.hgetallBuffer(key))
  if (type === 'list') return shown(await redis.lrangeBuffer(key, 0, -1))
  if (type === 'set') return shown(await redis.smembersBuffer(key))
  if (type === 'zset') return shown(await redis.zrangeBuffer(key, '0', '-1'))
  if (type === 'stream') return shown(await redis.xrangeBuffer(key, '-', '+'))
  return type === 'none' ? undefined : Promise.reject(new Error(`nobody looks into keys of type ${type}`))
}
