import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { migrations } from '@/migrations'
import { onEachBacking } from './backings'
import { temporaryFolder } from './bingo'
import { copyOfSources, shell } from './guides'

/** A copy in which a table and a column were declared, and the migration for them made. */
const folder = temporaryFolder()
const path = (file: string) => join(folder.path, file)
const edit = (file: string, from: string, to: string) => {
  const text = readFileSync(path(file), 'utf8')
  expect(text).toContain(from)
  writeFileSync(path(file), text.replace(from, to))
}
const next = `${String(Number(migrations.at(-1)?.id.slice(0, 4)) + 1).padStart(4, '0')}_notes_and_points`
const shipped = migrations.map(({ id }) => id)
let made: Awaited<ReturnType<typeof shell>>

beforeAll(async () => {
  copyOfSources(folder.path)
  edit(
    'src/modules/user/schema.ts',
    '    status: Status,\n',
    "    status: Status,\n    points: Type.Integer({ description: 'Earned.' }),\n",
  )
  edit('src/modules/user/schema.ts', "maxLength: 64,\n  pattern: '^[^", "maxLength: 80,\n  pattern: '^[^")
  mkdirSync(path('src/modules/note'))
  writeFileSync(
    path('src/modules/note/schema.ts'),
    `import { Decimal, Type } from '@/core/schema'
import { defineTable } from '@/core/table'

export const notes = defineTable(
  'note',
  { text: Type.String({ maxLength: 500 }), price: Type.Optional(Decimal(8, 2, 'What it costs.')) },
  { sortable: ['createdAt'], softDelete: true },
)
`,
  )
  writeFileSync(
    path('src/modules/note/index.ts'),
    `import { defineModule } from '@/core/module'
import { notes } from './schema'

export const note = defineModule({ name: 'note', needs: ['db'], tables: [notes], create: () => ({ biz: {}, faces: {} }) })
`,
  )
  edit('roles/api.ts', 'modules: [user,', 'modules: [user, note,')
  edit('roles/api.ts', 'import { user }', "import { note } from '@/modules/note'\nimport { user }")
  made = await shell('bun run --silent make:migration notes_and_points', folder.path)
}, 30_000)
afterAll(() => folder[Symbol.dispose]())

test('make:migration writes the migration in the words of every database, adds it to the list, and says what it assumed', async () => {
  expect([made.code, made.stdout]).toEqual([0, `src/migrations/${next}.ts\n`])
  expect(made.stderr.trim().split('\n')).toEqual([
    'column user.nickname is text(64); it should be text(80)',
    'table user has no column points',
    'table note is missing',
    'note: rows that are there already get 0 as user.points',
    'note: user.nickname becomes text(80); servers refuse that where a value does not fit',
  ])
  expect(readFileSync(path(`src/migrations/${next}.ts`), 'utf8')).toBe(written)
  expect(readFileSync(path('src/migrations/index.ts'), 'utf8')).toMatch(/= \[\s*user,[\s\S]*\bnotesAndPoints,?\s*\]/)
  const checked = await shell('bun --bun x biome check --error-on-warnings src/migrations', folder.path)
  expect(checked).toMatchObject({ code: 0 })
})

test('make:migration writes nothing when the tables are as declared, and refuses a name that it cannot use', async () => {
  const files = readdirSync(path('src/migrations'))
  const again = await shell('bun run --silent make:migration again', folder.path)
  expect([again.code, again.stdout, again.stderr]).toEqual([
    0,
    '',
    'the migrations make the tables as they are declared; there is nothing to write\n',
  ])
  for (const name of ['', 'Big', '../x', 'two words'])
    expect((await shell(`bun run --silent make:migration ${name}`, folder.path)).code).toBe(64)
  expect(readdirSync(path('src/migrations'))).toEqual(files)
})

onEachBacking('the migration that was made', open => {
  test('leaves no difference, and goes back', async () => {
    const backing = await open()
    const migrate = (action: string) => shell(`bun src/main.ts migrate ${action}`, folder.path, backing.options.env)
    expect(await migrate('up')).toMatchObject({ stdout: [...shipped, next].map(id => `${id}  applied\n`).join(''), code: 0 })
    const status = await migrate('status --json')
    expect([JSON.parse(status.stdout), status.code]).toEqual([
      { migrations: [...shipped, next].map(id => expect.objectContaining({ id })), differences: [] },
      0,
    ])
    expect(await migrate('down')).toMatchObject({ stdout: `${next}  undone\n`, code: 0 })
    expect((await migrate('up')).code).toBe(0)
    await backing.dispose()
  }, 30_000)
})

const written = `import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '${next}',
  up: ({ integer, changeColumn, text, id, decimal, timestamp, softDeleteColumns, tableOptions, index }) => [
    \`alter table "user" add column "points" \${integer} not null default 0\`,
    ...changeColumn('user', 'nickname', { from: text(64), to: text(80) }),
    \`create table "note" (
      "id" \${id} not null primary key,
      "text" \${text(500)} not null,
      "price" \${decimal(8, 2)},
      "createdAt" \${timestamp} not null,
      "updatedAt" \${timestamp} not null,
      "version" \${integer} not null,
      \${softDeleteColumns}
    ) \${tableOptions}\`,
    index('note', ['createdAt']),
  ],
  down: ({ changeColumn, text }) => [
    'drop table "note"',
    ...changeColumn('user', 'nickname', { from: text(80), to: text(64) }),
    'alter table "user" drop column "points"',
  ],
}
`
