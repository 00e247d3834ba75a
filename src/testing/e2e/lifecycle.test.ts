import { expect, test } from 'bun:test'
import { executable, startBingo, temporaryFolder } from '../bingo'
import { backingIn, newServiceKey } from '../clients'
import { newSignUp, send, type UserView } from '../http-client'

const inFolder = (path: string) => ({ BINGO_DATABASE_URL: `sqlite:${path}/bingo.db` })

test('SIGTERM with 200 slow sign-ups in flight: all are answered, and the process exits 0', async () => {
  using folder = temporaryFolder()
  // Hashes of 200 passwords are 9 s of a processor, which others use as well.
  const deadlineMs = 60_000
  const bingo = await startBingo({ env: { ...inFolder(folder.path), BINGO_SHUTDOWN_DEADLINE_MS: String(deadlineMs) } })
  const users = `${bingo.url}/api/v1/users`
  let answered = 0
  const answers = Array.from({ length: 200 }, async () => {
    const answer = await send<UserView>('POST', users, newSignUp())
    answered++
    return answer
  })
  // One has been answered, so all are in: they were sent before it.
  await Promise.race(answers)
  const started = performance.now()
  const exited = bingo.stop()
  const left = 200 - answered
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(answers.map(() => 201))
  expect(left).toBeGreaterThan(100)
  expect(await exited).toBe(0)
  expect(performance.now() - started).toBeLessThan(deadlineMs)
  expect(bingo.log.at(-1)?.msg).toBe('stopped')
}, 90_000)

test('while draining, it is not ready, still answers, and asks its clients to leave', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ env: { ...inFolder(folder.path), BINGO_SHUTDOWN_DRAIN_MS: '1000' } })
  const service = await newServiceKey(backingIn(folder.path))
  expect((await fetch(`${bingo.ops}/readyz`)).status).toBe(200)
  const exited = bingo.stop()
  let ready = await fetch(`${bingo.ops}/readyz`)
  while (ready.status === 200) ready = await fetch(`${bingo.ops}/readyz`)
  expect([ready.status, await ready.text()]).toEqual([503, 'draining\n'])
  expect((await fetch(`${bingo.url}/readyz`)).status).toBe(503)
  expect((await fetch(`${bingo.ops}/livez`)).status).toBe(200)
  const answer = await service.send('GET', `${bingo.url}/api/v1/users`)
  expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close'])
  expect(await exited).toBe(0)
})

test('what does not finish within the deadline is given up, and the exit code says so', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ env: { ...inFolder(folder.path), BINGO_SHUTDOWN_DEADLINE_MS: '100', BINGO_PASSWORD_CONCURRENCY: '1' } })
  const signUps = Promise.allSettled(Array.from({ length: 100 }, () => send('POST', `${bingo.url}/api/v1/users`, newSignUp())))
  while (!(await (await fetch(`${bingo.ops}/metrics`)).text()).match(/^bingo_password_waiting [1-9]\d/m)) await Bun.sleep(1)
  expect(await bingo.stop()).toBe(1)
  expect(bingo.log.at(-1)).toMatchObject({ msg: 'stopped before all was finished', services: ['api, rpc'] })
  await signUps
})

test('a signal that comes twice is one: Ctrl-C in a terminal reaches it directly, and from what has started it', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ env: { ...inFolder(folder.path), BINGO_SHUTDOWN_DRAIN_MS: '1000' } })
  const started = performance.now()
  const exited = bingo.stop('SIGINT')
  // One that has not been taken yet would swallow the next.
  while ((await fetch(`${bingo.ops}/readyz`)).status === 200) await Bun.sleep(1)
  process.kill(bingo.pid, 'SIGINT')
  expect(await exited).toBe(0)
  expect(performance.now() - started).toBeGreaterThan(900)
  expect(bingo.log.at(-1)?.msg).toBe('stopped')
})

test('a second signal, later, ends it at once', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ env: { ...inFolder(folder.path), BINGO_SHUTDOWN_DRAIN_MS: '60000' } })
  const exited = bingo.stop('SIGINT')
  while ((await fetch(`${bingo.ops}/readyz`)).status === 200) await Bun.sleep(1)
  await Bun.sleep(1500)
  const started = performance.now()
  process.kill(bingo.pid, 'SIGINT')
  expect(await exited).toBe(1)
  expect(performance.now() - started).toBeLessThan(2000)
})

test('when whoever read its log goes away, it goes on, and still stops when told to', async () => {
  using folder = temporaryFolder()
  const child = Bun.spawn([executable, '--role=api', '--http.port=0', '--rpc.port=0', '--ops.port=0', '--log.format=json'], {
    env: { ...process.env, ...inFolder(folder.path) },
    stdout: 'pipe',
    stderr: 'ignore',
  })
  const reader = child.stdout.getReader()
  const decoder = new TextDecoder()
  let log = ''
  while (!log.includes('"msg":"ready"')) log += decoder.decode((await reader.read()).value)
  await reader.cancel()
  const url = /api serves (http:[^",]+)/.exec(log)?.[1]
  const service = await newServiceKey(backingIn(folder.path))
  for (let i = 0; i < 50; i++) expect((await service.send('GET', `${url}/api/v1/users`)).status).toBe(200)
  child.kill('SIGTERM')
  expect(await child.exited).toBe(0)
})

test('each role starts, is healthy, and says in one line what it serves', async () => {
  using folder = temporaryFolder()
  for (const [role, line] of [
    ['api', /^api serves http:\/\/127\.0\.0\.1:\d+, serves grpc:\/\/127\.0\.0\.1:\d+$/],
    ['admin', /^admin serves http:\/\/127\.0\.0\.1:\d+$/],
    ['bot', /^bot serves http:\/\/127\.0\.0\.1:\d+, works the queues bot \(16 at a time\), broadcast \(32 at a time\)$/],
    ['scheduler', /^scheduler fires schedules, works the queues default \(32 at a time\), mail \(8 at a time\), bulk \(2 at a time\)$/],
  ] as const) {
    const bingo = await startBingo({ roles: role, env: inFolder(folder.path) })
    expect(bingo.log.filter(({ msg }) => line.test(msg))).toHaveLength(1)
    for (const path of ['/livez', '/readyz', '/metrics', '/version']) {
      expect([role, path, (await fetch(bingo.ops + path)).status]).toEqual([role, path, 200])
    }
    expect(await (await fetch(`${bingo.ops}/version`)).json()).toMatchObject({ roles: [role] })
    if (bingo.url) expect((await fetch(`${bingo.url}/readyz`)).status).toBe(200)
    expect(await bingo.stop()).toBe(0)
  }
})

test('all roles run in one process, and one ops server speaks for them', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ roles: 'all', env: inFolder(folder.path) })
  expect(Object.keys(bingo.urls)).toEqual(['api', 'admin', 'bot'])
  const service = await newServiceKey(backingIn(folder.path))
  await service.send('GET', `${bingo.urls['api']}/api/v1/users`)
  await service.send('GET', `${bingo.urls['api']}/api/v1/users/x`)
  await send('GET', `${bingo.urls['admin']}/nothing`)
  const metrics = await (await fetch(`${bingo.ops}/metrics`)).text()
  expect(metrics).toContain('http_server_request_duration_seconds_count{server="api",method="GET",route="/api/v1/users",status="200"} 1')
  expect(metrics).toContain(
    'http_server_request_duration_seconds_count{server="api",method="GET",route="/api/v1/users/:id",status="404"} 1',
  )
  expect(metrics).toContain('http_server_request_duration_seconds_count{server="admin",method="GET",route="none",status="404"} 1')
  expect(metrics).toMatch(/bingo_build_info\{version="[^"]+",roles="api,admin,scheduler,bot"\} 1/)
  expect(await bingo.stop()).toBe(0)
})

test('the first start on SQLite says in one line what it has migrated, and to people where everything is', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ roles: 'all', env: inFolder(folder.path) })
  expect(await bingo.stop()).toBe(0)
  expect(bingo.log.filter(({ msg }) => msg.startsWith('applying'))).toEqual([])
  expect(bingo.log.filter(({ msg }) => msg === 'migrated')).toMatchObject([
    { level: 'info', applied: expect.arrayContaining(['0001_user']) },
  ])
  expect(bingo.stderr()).toMatch(new RegExp(`^  mail +${folder.path}/mail$`, 'm'))
  expect(bingo.stderr()).toMatch(/^ {2}queues +default, mail, bulk, bot, broadcast$/m)
})

test('the admin server listens on loopback unless its own setting says otherwise', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ roles: 'admin,api', env: inFolder(folder.path), args: ['--http.host=0.0.0.0'] })
  expect(bingo.urls['admin']).toStartWith('http://127.0.0.1:')
  expect(bingo.urls['api']).toStartWith('http://0.0.0.0:')
  const { port } = new URL(bingo.urls['admin'] as string)
  const outside = Object.values((await import('node:os')).networkInterfaces())
    .flat()
    .find(address => address?.family === 'IPv4' && !address.internal)
  if (outside) await expect(fetch(`http://${outside.address}:${port}/livez`)).rejects.toThrow()
  expect(await bingo.stop()).toBe(0)
  const wide = await startBingo({ roles: 'admin', env: inFolder(folder.path), args: ['--admin.host=0.0.0.0'] })
  expect(wide.urls['admin']).toStartWith('http://0.0.0.0:')
  if (outside) expect((await fetch(`http://${outside.address}:${new URL(wide.urls['admin'] as string).port}/livez`)).status).toBe(200)
  expect(await wide.stop()).toBe(0)
})
