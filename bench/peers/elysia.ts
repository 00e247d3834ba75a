import { Elysia, NotFoundError } from 'elysia'
import type { RowDataPacket } from 'mysql2'
import { SignUp, User } from '@/modules/user/schema'
import { Echo } from '../schemas'

/** The bare library with default settings, and SQL written by hand: what the product would cost if it had no layers. */
interface Row extends RowDataPacket {
  id: string
  username: string
  email: string
  nickname: string | null
  status: 'active' | 'suspended'
  createdAt: string
  updatedAt: string
  version: number
}

const insert =
  'insert into user (id, username, email, nickname, passwordHash, status, createdAt, updatedAt, version) values (?, ?, ?, ?, ?, ?, ?, ?, ?)'

async function users(url: string) {
  // Loaded when used: the comparison of start times has no database server.
  const mysql = await import('mysql2/promise')
  const pool = mysql.createPool({
    uri: url,
    connectionLimit: 16,
    maxPreparedStatements: 500,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    enableKeepAlive: true,
  })
  return new Elysia()
    .get(
      '/api/v1/users/:id',
      async ({ params }) => {
        const [rows] = await pool.execute<Row[]>(
          'select id, username, email, nickname, status, createdAt, updatedAt, version from user where id = ?',
          [params.id],
        )
        const row = rows[0]
        if (!row) throw new NotFoundError()
        const { nickname, createdAt, updatedAt, ...rest } = row
        const shown = { ...rest, createdAt: instant(createdAt), updatedAt: instant(updatedAt) }
        return nickname === null ? shown : { ...shown, nickname }
      },
      { response: { 200: User } },
    )
    .post(
      '/api/v1/users',
      async ({ body, status }) => {
        const id = Bun.randomUUIDv7()
        const now = new Date().toISOString()
        const stored = `${now.slice(0, 10)} ${now.slice(11, 23)}`
        const username = body.username.trim().toLowerCase()
        const email = body.email.trim().toLowerCase()
        const values = [id, username, email, body.nickname ?? null, 'none', 'active', stored, stored, 1]
        await pool.execute(insert, values)
        const nickname = body.nickname === undefined ? {} : { nickname: body.nickname }
        return status(201, { id, username, email, ...nickname, status: 'active' as const, createdAt: now, updatedAt: now, version: 1 })
      },
      { body: SignUp, response: { 201: User } },
    )
}

// The driver leaves out milliseconds of zero.
const instant = (stored: string) => `${stored.slice(0, 10)}T${stored.slice(11).padEnd(12, '.000')}Z`

const url = process.env['BENCH_DATABASE_URL']
const app = new Elysia().get('/livez', () => 'ok\n').post('/api/v1/echo', ({ body }) => body, { body: Echo, response: { 200: Echo } })
if (url) app.use(await users(url))
app.listen({ hostname: '127.0.0.1', port: Number(process.env['BENCH_PORT']) })
process.on('SIGTERM', () => process.exit(0))
