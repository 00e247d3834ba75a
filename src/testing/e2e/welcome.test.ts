import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Backing, onEachServer, openBacking, testOn } from '../backings'
import { runBingo, startBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { newSignUp, send, type UserView } from '../http-client'
import { startOwn } from '../servers'
import { parseMail, startMailServer } from '../smtp'

const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

test('embedded, whoever signs up finds a welcome in the folder beside the database', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ roles: 'all', env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` } })
  const signUp = newSignUp()
  expect((await send('POST', `${bingo.urls['api']}/api/v1/users`, signUp)).status).toBe(201)
  const mails = join(folder.path, 'mail')
  const written = () => readdirSync(folder.path).includes('mail') && readdirSync(mails).some(name => name.endsWith('.eml'))
  await until(written)
  const { headers, body } = parseMail(readFileSync(join(mails, readdirSync(mails)[0] ?? ''), 'utf8'))
  expect([headers.get('to'), headers.get('subject')]).toEqual([[signUp.email], ['Welcome']])
  expect(body).toContain(`Hello ${signUp.username},`)
  expect(await bingo.stop()).toBe(0)
})

onEachServer('a welcome', open => {
  test('goes from the process that answers, through the outbox and Redis, to the one that works the queue, and to the mail server', async () => {
    const backing = await open()
    const mail = await startMailServer()
    const env = { ...backing.options.env, BINGO_MAIL_URL: mail.url, BINGO_MAIL_FROM: 'Shop <hello@shop.example>' }
    const api = await startBingo({ ...backing.options, env })
    const signUps = Array.from({ length: 20 }, () => newSignUp())
    const headers = { 'x-request-id': 'sign-up-1', traceparent: trace }
    for (const signUp of signUps) expect((await send('POST', `${api.url}/api/v1/users`, signUp, headers)).status).toBe(201)
    // One who is taken is nobody new.
    expect((await send('POST', `${api.url}/api/v1/users`, signUps[0])).status).toBe(409)
    expect(mail.received).toEqual([])

    // In the outbox there is nothing that tells of a person, and who asked goes with it.
    const scheduler = await startBingo({ env, roles: 'scheduler' })
    expect((await fetch(`${scheduler.ops}/readyz`)).status).toBe(200)
    await until(() => mail.received.length === 20, 15_000)
    expect(mail.received.flatMap(({ to }) => to).toSorted()).toEqual(signUps.map(({ email }) => email).toSorted())
    expect(parseMail(mail.received[0]?.source ?? '').headers.get('from')).toEqual(['Shop <hello@shop.example>'])
    const ids = mail.received.map(({ source }) => parseMail(source).headers.get('message-id')?.[0])
    expect(new Set(ids).size).toBe(20)

    const stats = async () => JSON.parse((await runBingo(['task', 'stats', '--queue=mail', '--json'], { env })).stdout)
    await until(async () => (await stats()).total.done === 20)
    expect(await stats()).toMatchObject({ waiting: 0, active: 0, dead: 0, total: { enqueued: 20, failed: 0 } })
    expect((await runBingo(['task', 'fsck'], { env })).code).toBe(0)
    expect(await Promise.all([api.stop(), scheduler.stop()])).toEqual([0, 0])
    await mail.close()
    await backing.dispose()
  }, 40_000)
})

test('the payload of a task says who and why, and the request and trace go with it', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
  const api = await startBingo({ env })
  const { body } = await send<UserView>('POST', `${api.url}/api/v1/users`, newSignUp(), { 'x-request-id': 'sign-up-1', traceparent: trace })
  const { body: other } = await send<UserView>('POST', `${api.url}/api/v1/users`, newSignUp(), { traceparent: 'no trace' })
  const listed = await runBingo(['task', 'list', '--json'], { env: { ...env, BINGO_LOG_LEVEL: 'error' } })
  const tasks = listed.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(tasks).toMatchObject([
    { task: 'email.send', payload: { userId: body.id, purpose: 'welcome' }, headers: { 'x-request-id': 'sign-up-1', traceparent: trace } },
    { payload: { userId: other.id, purpose: 'welcome' } },
  ])
  expect(Object.keys(tasks[0].payload)).toEqual(['userId', 'purpose'])
  expect(Object.keys(tasks[1].headers)).toEqual(['x-request-id'])
  expect(tasks[1].headers['x-request-id']).toMatch(/^[\w.-]{1,64}$/)
  expect(await api.stop()).toBe(0)
})

testOn(
  ['mariadb', 'redis'],
  'while Redis is away sign-ups are answered, a process that only works queues is not ready, and the welcomes come afterwards',
  async () => {
    await using redis = await startOwn('redis')
    const backing = (await openBacking('mariadb')) as Backing
    const mail = await startMailServer()
    const env = { ...backing.options.env, BINGO_REDIS_URL: redis.url, BINGO_MAIL_URL: mail.url }
    const api = await startBingo({ ...backing.options, env })
    const scheduler = await startBingo({ env, roles: 'scheduler' })
    const readyOf = async (ops: string) => (await fetch(`${ops}/readyz`)).status

    await redis.kill()
    await until(async () => (await readyOf(scheduler.ops)) === 503, 10_000)
    expect(await readyOf(api.ops)).toBe(200)
    for (let i = 0; i < 10; i++) expect((await send('POST', `${api.url}/api/v1/users`, newSignUp())).status).toBe(201)
    expect(mail.received).toEqual([])

    await redis.start()
    await until(() => mail.received.length === 10, 20_000)
    await until(async () => (await readyOf(scheduler.ops)) === 200, 10_000)
    const metrics = await (await fetch(`${scheduler.ops}/metrics`)).text()
    expect(metrics).toMatch(/^bingo_outbox_relayed_total\{status="enqueued"\} 10$/m)
    expect(await Promise.all([api.stop(), scheduler.stop()])).toEqual([0, 0])
    expect(mail.received).toHaveLength(10)
    await mail.close()
    await backing.dispose()
  },
  60_000,
)
