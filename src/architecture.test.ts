import { expect, test } from 'bun:test'
import { dirname, join, normalize } from 'node:path'
import { Glob } from 'bun'

/**
 * Who may import whom: `main, app, cli → roles → modules → core ← infra`, and inside a module
 * `index → controller, tasks → biz → store → schema`. A file's layer is the first whose pattern its path matches.
 */
interface Layer {
  name: string
  path: RegExp
  may: readonly string[]
}

const layers: readonly Layer[] = [
  { name: 'main', path: /^src\/main\.ts$/, may: ['cli', 'core'] },
  { name: 'app', path: /^src\/(app|http-faces)\.ts$/, may: ['app', 'roles', 'infra', 'core'] },
  { name: 'cli', path: /^src\/cli\//, may: ['cli', 'app', 'roles', 'index', 'infra', 'migrations', 'core', 'manifest'] },
  { name: 'manifest', path: /^package\.json$/, may: [] },
  { name: 'roles', path: /^roles\//, may: ['roles', 'index', 'core'] },
  { name: 'infra', path: /^src\/infra\//, may: ['infra', 'core', 'proto'] },
  { name: 'core', path: /^src\/core\//, may: ['core'] },
  { name: 'proto', path: /^src\/proto\//, may: [] },
  { name: 'migrations', path: /^src\/migrations\//, may: ['migrations', 'core'] },
  {
    name: 'index',
    path: /^src\/modules\/[^/]+\/index\.ts$/,
    may: ['core', 'schema', 'store', 'biz', 'controller', 'rpc', 'commands', 'tasks', 'index'],
  },
  { name: 'controller', path: /^src\/modules\/[^/]+\/([^/]+\.)?controller\.ts$/, may: ['core', 'schema', 'biz', 'index'] },
  { name: 'rpc', path: /^src\/modules\/[^/]+\/rpc\.ts$/, may: ['core', 'schema', 'biz', 'index', 'proto'] },
  { name: 'commands', path: /^src\/modules\/[^/]+\/commands\.ts$/, may: ['core', 'schema', 'biz', 'index'] },
  { name: 'tasks', path: /^src\/modules\/[^/]+\/tasks\.ts$/, may: ['core', 'schema', 'biz'] },
  { name: 'biz', path: /^src\/modules\/[^/]+\/([^/]+\.)?biz\.ts$/, may: ['core', 'schema', 'store', 'rule', 'biz', 'index', 'proto'] },
  { name: 'store', path: /^src\/modules\/[^/]+\/store\.ts$/, may: ['core', 'schema'] },
  { name: 'schema', path: /^src\/modules\/[^/]+\/schema\.ts$/, may: ['core', 'schema', 'index'] },
  // Anything else in a module serves its biz: rules and their data.
  { name: 'rule', path: /^src\/modules\/[^/]+\/[^/]+$/, may: ['core', 'schema', 'rule'] },
  { name: 'types', path: /^src\/assets\.d\.ts$/, may: [] },
]

/** Each package enters through one file or folder. Whoever adds one adds a line here and one to the README's table. */
const packages: Readonly<Record<string, RegExp>> = {
  '@sinclair/typebox': /^src\/core\/(schema|config\/load)\.ts$/,
  elysia: /^src\/(core\/controller\.ts|infra\/http\/|modules\/[^/]+\/([^/]+\.)?controller\.ts$)/,
  '@elysiajs/swagger': /^src\/infra\/http\/docs\.ts$/,
  'swagger-ui-dist': /^src\/infra\/http\/docs\.ts$/,
  mysql2: /^src\/infra\/database\/mysql\//,
  'bun:sqlite': /^src\/infra\/database\/sqlite\//,
  ioredis: /^src\/infra\/redis(-cluster)?\.ts$/,
  nodemailer: /^src\/infra\/mail\/nodemailer\.ts$/,
  'prom-client': /^src\/infra\/metrics\.ts$/,
  '@grpc/grpc-js': /^src\/infra\/rpc\//,
  '@bufbuild/protobuf': /^src\/(core\/rpc\.ts|infra\/rpc\/|modules\/[^/]+\/rpc\.ts$)/,
  grammy: /^src\/infra\/chat\/telegram\//,
  '@discordjs/rest': /^src\/infra\/chat\/discord\//,
  jose: /^src\/infra\/tokens\//,
  otplib: /^src\/infra\/totp\.ts$/,
  croner: /^src\/infra\/cron\.ts$/,
}
/** What computes and touches nothing outside the process. */
const pure = /^node:(crypto|async_hooks|util|path)$/

const layerOf = (path: string) => layers.find(layer => layer.path.test(path))

/** What a file imports, types included. */
const importsOf = (source: string) => [...source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([@\w./:-]+)'/g)].map(match => match[1] as string)

/** The file that a specifier of ours means, as far as its text tells. */
function targetOf(path: string, specifier: string): string {
  const target =
    specifier === '@roles'
      ? 'roles/index'
      : specifier.startsWith('@/')
        ? specifier.replace('@/', 'src/')
        : normalize(join(dirname(path), specifier))
  if (/\.\w+$/.test(target) && !/\.(controller|biz)$/.test(target)) return target
  return /^src\/modules\/[^/]+$|^src\/migrations$/.test(target) ? `${target}/index.ts` : `${target}.ts`
}

export function violations(path: string, source: string): string[] {
  const from = layerOf(path)
  if (!from) return [`${path} is in no layer`]
  return importsOf(source).flatMap(specifier => {
    if (/^(@\/|@roles$|\.)/.test(specifier)) return forbiddenFile(path, from, targetOf(path, specifier))
    return forbiddenPackage(path, from, specifier)
  })
}

function forbiddenFile(path: string, from: Layer, target: string): string[] {
  const to = layerOf(target)
  if (!to || !(from.may.includes(to.name) || target === path)) return [`${path} (${from.name}) may not import ${target} (${to?.name})`]
  const neighbor = moduleOf(target)
  if (to.name === 'index' && neighbor !== undefined && neighbor === moduleOf(path)) return [`${path} may not import its own index`]
  const isForeign = neighbor !== undefined && moduleOf(path) !== undefined && neighbor !== moduleOf(path)
  return isForeign && to.name !== 'index' ? [`${path} may reach the module ${neighbor} only through its index`] : []
}

const moduleOf = (path: string) => /^src\/modules\/([^/]+)\//.exec(path)?.[1]

function forbiddenPackage(path: string, from: Layer, specifier: string): string[] {
  const name = Object.keys(packages).find(known => specifier === known || specifier.startsWith(`${known}/`))
  if (name) return packages[name]?.test(path) ? [] : [`${path} may not import ${specifier}`]
  if (pure.test(specifier)) return []
  const isRuntime = specifier.startsWith('node:') || specifier.startsWith('bun')
  if (isRuntime && ['infra', 'cli', 'app', 'main'].includes(from.name)) return []
  return [`${path} may not import ${specifier}${isRuntime ? ': I/O belongs in infra' : ', which is not in the table of packages'}`]
}

async function sources(): Promise<[string, string][]> {
  const paths = [...new Glob('{src,roles}/**/*.ts').scanSync('.')].filter(path => !/\.test\.ts$|^src\/testing\//.test(path))
  return Promise.all(paths.map(async path => [path, await Bun.file(path).text()] as [string, string]))
}

test('every import follows the arrows', async () => {
  const files = await sources()
  expect(files.length).toBeGreaterThan(40)
  expect(files.flatMap(([path, source]) => violations(path, source))).toEqual([])
})

test('the rule bites', () => {
  const forbidden: [string, string][] = [
    ['src/modules/user/biz.ts', `import { x } from '@/infra/database/sqlite/driver'`],
    ['src/modules/user/biz.ts', `import { Elysia } from 'elysia'`],
    ['src/modules/user/biz.ts', `import type { Pool } from 'mysql2'`],
    ['src/modules/user/biz.ts', `import { readFileSync } from 'node:fs'`],
    ['src/modules/user/controller.ts', `import type { x } from './store'`],
    ['src/modules/user/store.ts', `import { userBiz } from './biz'`],
    ['src/modules/user/schema.ts', `export { userStore } from './store'`],
    ['src/modules/order/biz.ts', `import { userStore } from '@/modules/user/store'`],
    ['src/modules/order/biz.ts', `import { userBiz } from '../user/biz'`],
    ['src/modules/order/schema.ts', `import { User } from '@/modules/user/schema'`],
    ['src/modules/user/schema.ts', `import { user } from '@/modules/user'`],
    ['src/core/store.ts', `import { users } from '@/modules/user'`],
    ['src/core/store.ts', `const { Database } = await import('bun:sqlite')`],
    ['src/core/log.ts', `import { Registry } from 'prom-client'`],
    ['src/infra/log.ts', `import { user } from '@/modules/user'`],
    ['src/infra/log.ts', `import leftPad from 'left-pad'`],
    ['src/infra/http/app.ts', `import mysql from 'mysql2'`],
    ['src/infra/cache/redis.ts', `import { Redis } from 'ioredis'`],
    ['roles/api.ts', `import { userBiz } from '@/modules/user/biz'`],
    ['roles/api.ts', `import { openSqlite } from '@/infra/database/sqlite/driver'`],
    ['src/main.ts', `import { user } from '@/modules/user'`],
    ['src/elsewhere/x.ts', ''],
  ]
  for (const [path, source] of forbidden) expect([source, violations(path, source).length]).toEqual([source, 1])
})

test('the rule lets pass what belongs together', () => {
  const allowed: [string, string][] = [
    ['src/modules/order/biz.ts', `import type { UserBiz } from '@/modules/user'`],
    ['src/modules/order/index.ts', `import { user } from '@/modules/user'`],
    ['src/modules/order/schema.ts', `import { User } from '@/modules/user'`],
    ['src/modules/user/admin.controller.ts', `import { Elysia } from 'elysia'`],
    ['src/infra/database/mysql/pool.ts', `import mysql from 'mysql2'`],
  ]
  for (const [path, source] of allowed) expect(violations(path, source)).toEqual([])
})

/** What a stranger reads in one sitting. A file that is longer has a second noun inside. */
const linesMax = 320

test('no file is longer than a stranger reads in one sitting', async () => {
  const long = (await sources()).filter(([, source]) => source.split('\n').length > linesMax).map(([path]) => path)
  expect(long).toEqual([])
})
