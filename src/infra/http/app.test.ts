import { expect, test } from 'bun:test'
import { t } from 'elysia'
import { everyone } from '@/core/access'
import { currentCaller } from '@/core/caller'
import { controller } from '@/core/controller'
import { AppError } from '@/core/error'
import { defineTask } from '@/core/queue/task'
import { Input, Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { createQueue } from '../queue/queue'
import { httpApp } from './app'
import { createHealth } from './health'

const Thing = Type.Object({ name: Type.String() }, { additionalProperties: false })

/** An app with routes that go wrong in every way. */
function wrongApp() {
  const log = fakeLog()
  const readiness = new Readiness()
  const declared = (operationId: string) => ({
    response: { 200: Thing },
    access: [everyone()],
    detail: { operationId, summary: operationId },
  })
  const wrong = controller({ prefix: '/wrong', tags: ['Wrong'] })
    .get('/leak', () => ({ name: 'x', passwordHash: 'hunter2' }) as never, declared('leak'))
    .get('/type', () => ({ name: 5 }) as never, declared('type'))
    .get(
      '/bug',
      () => {
        throw new TypeError('cannot read /etc/passwd of hunter2')
      },
      declared('bug'),
    )
    .get(
      '/ours',
      () => {
        throw new AppError('Unavailable', 'Elsewhere', 'Come back.', { cause: new Error('hunter2'), retryAfterSeconds: 7 })
      },
      declared('ours'),
    )
    .get(
      '/enqueue',
      async () => {
        const said = defineTask('thing.do', Type.Object({ secretPlan: Type.String() }))
        const unreached = { enqueue: () => Promise.reject(new Error('nothing was to be enqueued')) }
        const clock = { nowMs: () => 0 }
        const queue = createQueue({ driver: unreached, tasks: [said], queues: ['default'], clock, payloadMaxBytes: 1000 })
        await queue.enqueue(said, {} as never)
        return { name: 'x' }
      },
      declared('enqueue'),
    )
    .get('/text', () => Promise.reject('hunter2') as never, declared('text'))
    .get('/fine', () => ({ name: 'x' }), declared('fine'))
    .get('/bounded', () => ({ name: 'x' }), { query: t.Object({ count: t.Integer({ minimum: 1, maximum: 5 }) }), ...declared('bounded') })
  const app = httpApp('api', '/api/v1', [wrong], {
    log,
    metrics: fakeMetrics(),
    readiness,
    health: createHealth(readiness, [], log),
    bodyLimitBytes: 1024,
  })
  const get = async (path: string) => {
    const response = await app.handle(new Request(`http://localhost/api/v1/wrong${path}`))
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
  return { get, log, readiness }
}

const controllerThatEchoes = () =>
  controller({ prefix: '/echo', tags: ['Echo'] }).post('', ({ body }) => body, {
    body: Input({ text: Type.String() }),
    parse: 'json',
    access: [everyone()],
  })

test('the character that stands for damaged bytes is refused where it might be that, and taken where it was written', async () => {
  const app = httpApp('test', '/api/v1', [controllerThatEchoes()], {
    ...{ log: fakeLog(), metrics: fakeMetrics(), readiness: new Readiness(), bodyLimitBytes: 1024 },
    health: createHealth(new Readiness(), [], fakeLog()),
  })
  const post = async (body: string | ReadableStream) => {
    const headers = {
      'content-type': 'application/json',
      ...(typeof body === 'string' && { 'content-length': String(Buffer.byteLength(body)) }),
    }
    const response = await app.handle(new Request('http://localhost/api/v1/echo', { method: 'POST', headers, body }))
    return [response.status, await response.json()]
  }
  for (const body of ['{"text":"\ufffd"}', new Response('{"text":"\ufffd"}').body as ReadableStream])
    expect(await post(body)).toMatchObject([400, { code: 'InvalidArgument.Encoding' }])
  expect(await post('{"text":"\\ufffd"}')).toEqual([200, { text: '\ufffd' }])
})

test('an answer that breaks its schema is our fault: 500, nothing of it is sent, and the log says where', async () => {
  const { get, log } = wrongApp()
  for (const path of ['/leak', '/type']) {
    const { status, headers, text } = await get(path)
    expect([path, status, headers.get('content-type')]).toEqual([path, 500, 'application/problem+json'])
    expect(text).not.toContain('hunter2')
    expect(JSON.parse(text)).toMatchObject({ code: 'Internal.Response', detail: 'Something went wrong on our side.' })
  }
  expect(log.lines.map(({ level, fields }) => [level, String(fields['err'])])).toEqual([
    ['error', 'Error: the response breaks its schema at /passwordHash'],
    ['error', 'Error: the response breaks its schema at /name'],
  ])
})

test('an error that nobody expected is answered 500 without a word of it, and logged with its cause', async () => {
  const { get, log } = wrongApp()
  for (const path of ['/bug', '/text']) {
    const { status, text } = await get(path)
    expect([status, JSON.parse(text).code]).toEqual([500, 'Internal.Unexpected'])
    expect(text).not.toMatch(/hunter2|passwd|at |\.ts/)
  }
  expect(log.lines.map(({ fields }) => String(fields['err']))).toEqual(['TypeError: cannot read /etc/passwd of hunter2', 'hunter2'])
})

test('a task that is enqueued wrongly is our fault: 500, nothing of it is sent, and the log says what is wrong', async () => {
  const { get, log } = wrongApp()
  const { status, text } = await get('/enqueue')
  expect([status, JSON.parse(text).code, JSON.parse(text).errors]).toEqual([500, 'Internal.Unexpected', undefined])
  expect(text).not.toContain('secretPlan')
  expect(log.lines).toMatchObject([{ level: 'error', fields: { err: { name: 'TaskRefused', code: 'PayloadInvalid' } } }])
  expect(String(log.lines[0]?.fields['err'])).toContain('/secretPlan: Expected required property')
})

test('a number of a query that is out of its range is refused, and why is said', async () => {
  const { get } = wrongApp()
  for (const [count, detail] of [
    ['9', 'Expected integer to be less or equal to 5'],
    ['0', 'Expected integer to be greater or equal to 1'],
  ]) {
    const { status, text } = await get(`/bounded?count=${count}`)
    expect([status, JSON.parse(text)]).toMatchObject([400, { code: 'InvalidArgument.Query', errors: [{ detail }] }])
  }
  expect((await get('/bounded?count=3')).status).toBe(200)
})

test('an error of ours says what it means, and keeps its cause', async () => {
  const { get, log } = wrongApp()
  const { status, headers, text } = await get('/ours')
  expect([status, headers.get('retry-after')]).toEqual([503, '7'])
  expect(JSON.parse(text)).toEqual({
    type: 'about:blank',
    title: 'Service Unavailable',
    status: 503,
    detail: 'Come back.',
    instance: '/api/v1/wrong/ours',
    code: 'Unavailable.Elsewhere',
    requestId: headers.get('x-request-id'),
  })
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { status: 503, code: 'Unavailable.Elsewhere', route: '/api/v1/wrong/ours' } }])
})

test('each request is one line of the log', async () => {
  const { get, log } = wrongApp()
  const { headers } = await get('/fine?name=x')
  expect(log.lines).toHaveLength(1)
  expect(log.lines[0]).toMatchObject({
    level: 'info',
    message: 'request',
    fields: { server: 'api', method: 'GET', route: '/api/v1/wrong/fine', status: 200, requestId: headers.get('x-request-id') },
  })
})

test('clients are asked to leave while draining, and only then', async () => {
  const { get, readiness } = wrongApp()
  expect((await get('/fine')).headers.get('connection')).toBeNull()
  readiness.state = 'draining'
  expect((await get('/fine')).headers.get('connection')).toBe('close')
  expect((await get('/ours')).headers.get('connection')).toBe('close')
})

/** An app whose route notes who calls, and answers with that once so many calls are there. */
function meetingApp(calls: number, hasCallers: boolean) {
  const log = fakeLog()
  const readiness = new Readiness()
  const together = Promise.withResolvers<void>()
  let here = 0
  const meeting = controller({ prefix: '/meeting', tags: ['Meeting'] }).get(
    '/:name',
    async ({ params }) => {
      const caller = currentCaller()
      if (caller) caller.actor = `${caller.actor ?? ''}${params.name}`
      if (++here === calls) together.resolve()
      await together.promise
      return { name: currentCaller()?.actor ?? 'nobody' }
    },
    {
      params: Type.Object({ name: Type.String() }),
      response: { 200: Thing },
      access: [everyone()],
      detail: { operationId: 'meet', summary: 'Meet' },
    },
  )
  const health = createHealth(readiness, [], log)
  return httpApp('api', '/api/v1', [meeting], { log, metrics: fakeMetrics(), readiness, health, bodyLimitBytes: 1024, hasCallers })
}

const names = ['ada', 'bob', 'eve', 'dan']

test('requests at the same time are callers of their own, over a connection as in a test', async () => {
  const overConnection = meetingApp(names.length, true).listen({ hostname: '127.0.0.1', port: 0 })
  const inTest = meetingApp(names.length, true)
  try {
    const asked = (ask: (request: Request) => Response | Promise<Response>, origin: string) =>
      Promise.all(names.map(async name => (await ask(new Request(`${origin}/api/v1/meeting/${name}`))).json()))
    const expected = names.map(name => ({ name }))
    expect(await asked(fetch, `http://127.0.0.1:${overConnection.server?.port}`)).toEqual(expected)
    expect(await asked(request => inTest.handle(request), 'http://localhost')).toEqual(expected)
  } finally {
    await overConnection.stop()
  }
})

test('where nothing is read from replicas, requests are no callers', async () => {
  const answer = await meetingApp(1, false).handle(new Request('http://localhost/api/v1/meeting/ada'))
  expect(await answer.json()).toEqual({ name: 'nobody' })
})
