import { randomUUID } from 'node:crypto'
import { fastify } from 'fastify'
import mysql from 'mysql2/promise'

/** Fastify on Node with the same schemas, as JSON in the environment. Plain JavaScript, since Node 20 reads no types. */
const { Echo, SignUp, User } = JSON.parse(process.env.BENCH_SCHEMAS)
const pool = mysql.createPool({
  uri: process.env.BENCH_DATABASE_URL,
  connectionLimit: 16,
  maxPreparedStatements: 500,
  charset: 'utf8mb4',
  timezone: 'Z',
  dateStrings: true,
  supportBigNumbers: true,
  enableKeepAlive: true,
})
// Refuse what the others refuse: by default Fastify drops unknown fields and turns text into numbers.
const app = fastify({ ajv: { customOptions: { removeAdditional: false, coerceTypes: false } } })

app.get('/livez', async () => 'ok\n')
app.post('/api/v1/echo', { schema: { body: Echo, response: { 200: Echo } } }, async request => request.body)

app.get('/api/v1/users/:id', { schema: { response: { 200: User } } }, async (request, reply) => {
  const [[row]] = await pool.execute('select id, username, email, nickname, status, createdAt, updatedAt, version from user where id = ?', [
    request.params.id,
  ])
  if (!row) return reply.code(404).send()
  const { nickname, createdAt, updatedAt, ...rest } = row
  const shown = { ...rest, createdAt: instant(createdAt), updatedAt: instant(updatedAt) }
  return nickname === null ? shown : { ...shown, nickname }
})

app.post('/api/v1/users', { schema: { body: SignUp, response: { 201: User } } }, async (request, reply) => {
  const id = randomUUID()
  const now = new Date().toISOString()
  const stored = `${now.slice(0, 10)} ${now.slice(11, 23)}`
  const username = request.body.username.trim().toLowerCase()
  const email = request.body.email.trim().toLowerCase()
  const { nickname } = request.body
  await pool.execute(
    'insert into user (id, username, email, nickname, passwordHash, status, createdAt, updatedAt, version) values (?, ?, ?, ?, ?, ?, ?, ?, ?)',
    [id, username, email, nickname ?? null, 'none', 'active', stored, stored, 1],
  )
  return reply.code(201).send({ id, username, email, nickname, status: 'active', createdAt: now, updatedAt: now, version: 1 })
})

// The driver leaves out milliseconds of zero.
const instant = stored => `${stored.slice(0, 10)}T${stored.slice(11).padEnd(12, '.000')}Z`

await app.listen({ host: '127.0.0.1', port: Number(process.env.BENCH_PORT) })
process.on('SIGTERM', () => process.exit(0))
