import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { roles } from '@roles'
import { Glob } from 'bun'
import { isSafe } from 'redos-detector'
import { documentOf } from '@/http-faces'
import { settings } from '@/core/config/settings'
import type { Ports } from '@/core/ports'
import { pathPattern } from '@/infra/http/routes'
import { patternsIn, regularExpressions } from './regular-expressions'

const root = join(import.meta.dir, '../..')
const isShipped = (path: string) => !/\.test\.ts$|^src\/testing\//.test(path)

interface Bounded {
  /** Whose text it is, and how long. */
  why: string
  /** The worst that there is of it. */
  worst: string
}

/** Those that look at a text from each of its places, so that they cost the square of its length: on texts that are short. */
const bounded: Record<string, Bounded> = {
  '_+(.)': { why: 'the name that a developer gives to a migration', worst: '_'.repeat(1000) },
  '_+$': { why: 'the name that a developer gives to a migration', worst: `${'_'.repeat(1000)}x` },
  '= \\[([^\\]]*?),?\\s*\\]': { why: 'a source file of ours', worst: `= [${' '.repeat(3000)}` },
  "'(?:[^']|'')*'": { why: 'a statement of ours, whose values are parameters', worst: "'".repeat(20_001) },
  "'(?:[^'\\\\]|\\\\.|'')*'": { why: 'a statement of ours, whose values are parameters', worst: "'\\".repeat(5000) },
  '\'(?:[^\']|\'\')*\'|"((?:[^"]|"")*)"': { why: 'a statement of ours, whose values are parameters', worst: `'"`.repeat(10_001) },
  '\\bwhere\\s+["`]deletedAt["`]\\s+is\\s+null\\s*$': { why: 'an index of ours', worst: `where${' '.repeat(10_000)}` },
  "for key '(?:[^']*\\.)?([^'.]+)'$": { why: 'a message of MySQL: 512 bytes', worst: "for key '.".repeat(51) },
  " for key '[\\w$.-]+'$": { why: 'a message of MySQL: 512 bytes', worst: ` for key '${'a'.repeat(500)}` },
  " for column ['`][\\w$.`-]+['`] at row \\d+$": { why: 'a message of MySQL: 512 bytes', worst: ` for column '${'`'.repeat(500)}` },
  '(\\([^()]*\\))(?:, \\1)+': { why: 'a statement of ours, whose values are parameters', worst: '(?, ?), '.repeat(10_000) },
  '^(.*?) ?<(.+)>$': { why: 'the setting mail.from', worst: ' <'.repeat(1000) },
  '=+$': { why: 'a salt of ours: 44 characters', worst: `${'='.repeat(44)}x` },
  '"[^"\\n]*"|`[^`\\n]*`|“[^”\\n]*”|(?<![\\p{L}\\d])\'[^\'\\n]*\'(?![\\p{L}\\d])': {
    why: 'what a task failed with: 1,000 characters',
    worst: '“'.repeat(1000),
  },
}
const worstMs = 500

/** Whether no text makes it try more ways than a small multiple of the text's length. */
function isLinear(source: string, flags: string): boolean {
  // What does not change which ways there are, and the analyzer does not know.
  return isSafe(new RegExp(source, flags.replace(/[^imsu]/g, '')), { maxScore: 30 }).safe
}

async function shipped(): Promise<{ path: string; text: string }[]> {
  const paths = [...new Glob('{src,roles}/**/*.ts').scanSync(root)].filter(isShipped).sort()
  return Promise.all(paths.map(async path => ({ path, text: await Bun.file(join(root, path)).text() })))
}

test('no regular expression of the product can be kept busy by what somebody sends', async () => {
  const files = await shipped()
  const all = files.flatMap(({ path, text }) => regularExpressions(text).map(([source, flags]) => ({ path, source, flags })))
  expect(all.length).toBeGreaterThan(100)
  const busy = all.filter(({ source, flags }) => !isLinear(source, flags))
  expect(busy.filter(({ source }) => bounded[source] === undefined)).toEqual([])
  // None stands there that is not any more.
  expect(new Set(busy.map(({ source }) => source))).toEqual(new Set(Object.keys(bounded)))
  for (const { source, flags } of busy) {
    // Of the processor: others may be busy on this machine.
    const before = process.cpuUsage()
    bounded[source]?.worst.replace(new RegExp(source, flags), '')
    const { user, system } = process.cpuUsage(before)
    expect([source, (user + system) / 1000 < worstMs]).toEqual([source, true])
  }
}, 300_000)

test('no pattern of a schema can: not of a request, a column, a payload or a setting', async () => {
  const schemas = [...new Glob('src/modules/*/schema.ts').scanSync(root)].map(path => import(join(root, path)) as Promise<object>)
  const ports = new Proxy({}, { get: () => ({}) }) as Ports
  const documents = roles.flatMap(role => (role.serves.length > 0 ? [documentOf(role, ports, 'test')] : []))
  const patterns = new Set(
    patternsIn([settings, ...(await Promise.all(schemas)).map(each => ({ ...each })), ...(await Promise.all(documents))]),
  )
  expect(patterns.size).toBeGreaterThan(10)
  expect([...patterns].filter(pattern => !isLinear(pattern, 'u'))).toEqual([])
}, 120_000)

test('no path of a route can', async () => {
  const ports = new Proxy({}, { get: () => ({}) }) as Ports
  const documents = await Promise.all(roles.map(role => documentOf(role, ports, 'test')))
  const templates = documents.flatMap(document => Object.keys(document?.paths ?? {})).map(path => path.replace(/\{(\w+)\}/g, ':$1'))
  expect(templates.length).toBeGreaterThan(10)
  expect(templates.filter(template => !isLinear(pathPattern(template).source, ''))).toEqual([])
})

/** Made at run time, of what is no caller's. Another must be looked at, and be made of what is checked above. */
const madeOf: Record<string, string> = {
  'src/cli/make-migration.ts': 'the name that a developer gives to a migration',
  'src/infra/http/routes.ts': 'templates of routes',
  'src/infra/queue/redis/check.ts': 'names of fields of INFO',
}

test('what is made at run time is made of what is known, and no text is run as a program', async () => {
  const files = await shipped()
  const made = files.filter(({ text }) => /new RegExp\(|[^.\w]RegExp\(/.test(text)).map(({ path }) => path)
  expect(made).toEqual(Object.keys(madeOf))
  expect(
    files
      .filter(({ text }) => /(?<![.\w])eval\(|new Function\(|\bFunction\(['"`]|node:vm|setTimeout\(['"`]/.test(text))
      .map(({ path }) => path),
  ).toEqual([])
})

test('the check bites', () => {
  for (const [source, safe] of [
    ['^(a+)+$', false],
    ['^(\\w+\\s?)*$', false],
    ['\\s+$', false],
    ['^\\d+\\d+$', false],
    ['^[\\w.-]{1,64}$', true],
  ] as const)
    expect([source, isLinear(source, '')]).toEqual([source, safe])
  const text = [
    'const a = b / c / d // /no/',
    "x.replace(/[/'\"]+`/g, '/no/')",
    ['return `$', '{/in a template/.test(y)} /no/`'].join(''),
    'if (!/\\//.test(z)) {}',
  ].join('\n')
  expect(regularExpressions(text).map(([source]) => source)).toEqual(['[/\'"]+`', 'in a template', '\\/'])
})
