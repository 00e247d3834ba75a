import { everyone } from '@/core/access'
import { currentCaller } from '@/core/caller'
import { loadConfig } from '@/core/config/load'
import { controller } from '@/core/controller'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Identity } from '@/core/identity'
import { Type } from '@/core/schema'
import { createCipher } from '@/core/seal'
import { Readiness } from '@/core/service'
import { httpApp } from '@/infra/http/app'
import { createHealth } from '@/infra/http/health'
import { idempotency } from '@/infra/idempotency/keys'
import { openConfiguredDatabase } from '@/infra/ports'
import { fakeLog, fakeMetrics } from './fakes'

/** Where a process may die while it carries out a request, and how else it may go wrong. */
export const deaths = ['before', 'inside', 'held', 'committed', 'between', 'outside'] as const
export type Death = (typeof deaths)[number]

const Order = Type.Object(
  {
    name: Type.String(),
    diesAt: Type.Optional(Type.String()),
    waitMs: Type.Optional(Type.Integer()),
    status: Type.Optional(Type.Integer()),
    fails: Type.Optional(Type.String()),
    length: Type.Optional(Type.Integer()),
  },
  { additionalProperties: false },
)
const Made = Type.Object({ id: Type.String(), seen: Type.Integer(), padding: Type.String() }, { additionalProperties: false })

/** Before the id of a user whom the app knows by it. */
export const knownUser = 'user-'

const known = (credential: string): Identity | undefined =>
  credential.startsWith(knownUser) ? { kind: 'user', id: credential.slice(knownUser.length), sessionId: 's' } : undefined

/** An app whose routes write rows of `effect`, which nothing keeps from being there twice. */
export function keyedApp(db: Database) {
  const log = fakeLog()
  const readiness = new Readiness()
  const die = (isTime: boolean) => {
    if (isTime) process.kill(process.pid, 'SIGKILL')
  }
  const insert = (on: Pick<Database, 'run'>, name: string) =>
    on.run('insert into "effect" ("id", "name") values (?, ?)', [Bun.randomUUIDv7(), name])
  const seen = async (name: string) => Number((await db.first('select count(*) as "n" from "effect" where "name" = ?', [name]))?.['n'])
  const declared = { body: Order, parse: 'json' as const, access: [everyone()] }
  const effects = controller({ prefix: '/effects', tags: ['Effects'] })
    .post(
      '',
      async ({ body: { name, diesAt, waitMs, status, fails, length = 0 }, set, path }) => {
        die(diesAt === 'before')
        if (waitMs !== undefined) await Bun.sleep(waitMs)
        if (fails === 'first') throw new AppError('Unavailable', 'Tests', 'First.')
        if (fails === 'refused') throw new AppError('Conflict', 'Tests', 'Refused.')
        if (fails === 'limited') throw new AppError('ResourceExhausted', 'Tests', 'Limited.', { retryAfterSeconds: 1 })
        const id = await db.tx(async tx => {
          await insert(tx, name)
          die(diesAt === 'inside')
          await tx.afterCommit(() => die(diesAt === 'committed'))
          return Bun.randomUUIDv7()
        })
        die(diesAt === 'held')
        if (fails === 'last') throw new AppError('Unavailable', 'Tests', 'Last.')
        set.status = status ?? 201
        set.headers['location'] = `${path}/${id}`
        set.headers['etag'] = '"1"'
        return { id, seen: 1, padding: 'x'.repeat(length) }
      },
      { ...declared, response: { 201: Made, 200: Made }, detail: { operationId: 'once', summary: 'Once' } },
    )
    .post(
      '/twice',
      async ({ body: { name, diesAt } }) => {
        await insert(db, name)
        // Sees what was just written, which commits it.
        const before = await seen(name)
        die(diesAt === 'between')
        await insert(db, name)
        return { id: name, seen: before, padding: '' }
      },
      { ...declared, response: { 200: Made }, detail: { operationId: 'twice', summary: 'Twice' } },
    )
    .post(
      '/outside',
      async ({ body: { name, diesAt } }) => {
        // As what enqueues into Redis does, or sends.
        await currentCaller()?.once?.beforeOutside()
        die(diesAt === 'outside')
        return { id: name, seen: 0, padding: '' }
      },
      { ...declared, response: { 200: Made }, detail: { operationId: 'outside', summary: 'Outside' } },
    )
    .post('/secret', ({ body: { name } }) => ({ id: name, seen: 0, padding: '' }), {
      ...declared,
      givesSecrets: true,
      response: { 200: Made },
      detail: { operationId: 'secret', summary: 'Secret' },
    })
  const rootKey = new Uint8Array(32).fill(7)
  const keys = idempotency({ db, cipher: () => createCipher(rootKey, 'idempotent-request'), log, metrics: fakeMetrics() })
  const app = httpApp('api', '/api/v1', [effects], {
    log,
    metrics: fakeMetrics(),
    readiness,
    health: createHealth(readiness, [], log),
    bodyLimitBytes: 1_000_000,
    keys,
    recognizer: { remembered: known, recognize: async credential => known(credential) },
  })
  return { app, log }
}

if (import.meta.main) {
  const { config } = loadConfig({ env: process.env, flags: {}, readFile: () => '' })
  const db = await openConfiguredDatabase(config, { log: fakeLog(), metrics: fakeMetrics() })
  const { app } = keyedApp(db)
  app.listen({ hostname: '127.0.0.1', port: 0 })
  console.log(app.server?.url.origin)
}
