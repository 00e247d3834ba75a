import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { roles } from '@roles'
import { tablesOf } from '@/app'
import { loadConfig } from '@/core/config/load'
import { StartError } from '@/core/error'
import type { Migration } from '@/core/migration'
import { sentence } from '@/infra/database/migrate/drift'
import { type Recorded, replay } from '@/infra/database/migrate/recorded'
import { migrationSource } from '@/infra/database/migrate/source'
import { migrations } from '@/migrations'
import { usage } from './arguments'
import { toolsOf, withMigrationDatabase } from './migrate'

/**
 * A tool for development, not part of the executable: writes the migration that brings the tables which the migrations make to
 * the ones that the modules of all roles declare, and adds it to the list. It needs no server, and serves every database.
 */
const folder = join(import.meta.dir, '../migrations')
const listFile = join(folder, 'index.ts')

async function main([name, ...rest]: readonly string[]): Promise<void> {
  if (name === undefined || rest.length > 0 || !/^[a-z][a-z0-9_]{0,40}$/.test(name))
    throw usage('bun run make:migration takes a name of small letters, digits and _: bun run make:migration user_points')
  const before = await recorded(migrations)
  const undeclared = [...before.tables.keys()].filter(table => !declared.some(({ name }) => name === table))
  for (const table of undeclared)
    say(`no module of a role declares the table ${table}; list it in the module's \`tables\`, or write a migration that drops it by hand`)
  if (before.differences.length === 0) return say('the migrations make the tables as they are declared; there is nothing to write')

  const id = `${nextNumber()}_${name}`
  const file = join(folder, `${id}.ts`)
  const { text, remarks } = migrationSource(id, before.differences)
  await Bun.write(file, text)
  await Bun.write(listFile, withMigration(await Bun.file(listFile).text(), id))
  await format([file, listFile])
  for (const difference of before.differences) say(sentence(difference))
  for (const remark of remarks) say(`note: ${remark}`)
  await check(file)
  console.log(relative(process.cwd(), file))
}

const declared = tablesOf(roles)
const say = (line: string) => console.error(line)

/** On a database of its own, that is gone afterwards. */
async function recorded(list: readonly Migration[]): Promise<Recorded> {
  const place = mkdtempSync(join(tmpdir(), 'bingo-migration-'))
  try {
    const { config } = loadConfig({
      env: {},
      flags: { 'database.url': `sqlite:${place}/replay.db` },
      readFile: path => readFileSync(path, 'utf8'),
    })
    return await withMigrationDatabase(config, toolsOf(config), db => replay(db, list, declared))
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** Counted from the files, so that one which was not listed is not written over. */
function nextNumber(): string {
  const numbers = readdirSync(folder).flatMap(file => (/^\d{4}_/.test(file) ? Number(file.slice(0, 4)) : []))
  return String(Math.max(0, ...numbers) + 1).padStart(4, '0')
}

/** The list with one more. */
function withMigration(list: string, id: string): string {
  const [, number = '', name = ''] = /^(\d+)_(.*)$/.exec(id) ?? []
  const camel = name.replace(/_+(.)/g, (_, letter: string) => letter.toUpperCase()).replace(/_+$/, '')
  // A word that the list has already, or that no variable may be named, gets the number.
  const isTaken = new RegExp(`\\b${camel}\\b`).test(list) || reserved.has(camel)
  const alias = isTaken ? `${camel}${number}` : camel
  const lastImport = [...list.matchAll(/^import .*\n/gm)].at(-1)
  const afterImports = lastImport ? lastImport.index + lastImport[0].length : 0
  const imports = `${list.slice(0, afterImports)}import { migration as ${alias} } from './${id}'\n`
  const rest = list
    .slice(afterImports)
    .replace(/= \[([^\]]*?),?\s*\]/, (_, items: string) => `= [${items.trim() ? `${items}, ` : ''}${alias}]`)
  if (!rest.includes(alias)) throw new StartError(`${listFile} is not as this tool knows it; add ${id} to it by hand`)
  return imports + rest
}
const reserved = new Set(
  'await break case catch class const continue debugger default delete do else enum export extends false finally for function if import in instanceof interface let new null package private protected public return static super switch this throw true try typeof var void while with yield'.split(
    ' ',
  ),
)

async function format(files: readonly string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, '--bun', 'x', 'biome', 'format', '--write', ...files], {
    cwd: join(import.meta.dir, '../..'),
    stdout: 'ignore',
    stderr: 'pipe',
  })
  const [complaint, code] = await Promise.all([child.stderr.text(), child.exited])
  if (code !== 0) throw new StartError(`${files.join(' and ')} could not be formatted: ${complaint}`)
}

/** Replays what was written, so that a migration which does not do what it is for is not found out later. */
async function check(file: string): Promise<void> {
  const { migration } = (await import(file)) as { migration: Migration }
  const left = (await recorded([...migrations, migration])).differences
  if (left.length > 0)
    throw new StartError(`${file} does not bridge every difference; complete it by hand: ${left.map(sentence).join('; ')}`)
}

try {
  await main(process.argv.slice(2))
} catch (thrown) {
  if (!(thrown instanceof Error)) throw thrown
  say(`make:migration: ${thrown.message}`)
  process.exitCode = thrown instanceof StartError ? thrown.exitCode : 1
}
