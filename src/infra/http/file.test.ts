import { expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { controller } from '@/core/controller'
import { downloadOf } from '@/core/download'
import { Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { httpApp } from './app'
import { openApiDocument } from './docs'
import { createHealth } from './health'

interface Made {
  count: number
  /** Resolves when nobody asks for more. */
  ended: PromiseWithResolvers<void>
}

async function* pieces(count: number, made: Made, failsAt = -1) {
  try {
    for (; made.count < count; made.count++) {
      if (made.count === failsAt) throw new Error('hunter2')
      yield new Uint8Array(100_000).fill(65)
    }
  } finally {
    made.ended.resolve()
  }
}

/** A server with a file of so many pieces. */
function fileServer(count: number, failsAt?: number) {
  const made: Made = { count: 0, ended: Promise.withResolvers() }
  const said = { response: { 200: Type.String() }, gives: ['text/csv'], access: [everyone()] }
  const file = controller({ prefix: '/file', tags: ['File'] })
    .get('', () => downloadOf({ fileName: 'a.csv', mediaType: 'text/csv', pieces: pieces(count, made, failsAt) }), {
      ...said,
      detail: { operationId: 'file', summary: 'A file' },
    })
    .get('/name', () => 'a.csv', {
      response: { 200: Type.String() },
      access: [everyone()],
      detail: { operationId: 'name', summary: 'Its name' },
    })
  const [log, readiness] = [fakeLog(), new Readiness()]
  const tools = { log, metrics: fakeMetrics(), readiness, health: createHealth(readiness, [], log), bodyLimitBytes: 1000 }
  const app = httpApp('api', '/api/v1', [file], tools).listen({ port: 0, hostname: '127.0.0.1', development: false })
  const url = `http://127.0.0.1:${app.server?.port}/api/v1/file`
  return { url, made, file, [Symbol.asyncDispose]: async () => void (await app.stop(true)) }
}

test('a file is sent with the headers of every answer, also to whoever takes no JSON', async () => {
  await using server = fileServer(3)
  const { url } = server
  const answer = await fetch(url, { headers: { accept: 'text/csv' } })
  expect((await answer.text()).length).toBe(300_000)
  const names = ['content-type', 'content-disposition', 'x-content-type-options', 'cache-control']
  expect(names.map(name => answer.headers.get(name))).toEqual(['text/csv', 'attachment; filename="a.csv"', 'nosniff', 'no-store'])
  expect(answer.headers.get('x-request-id')).toBeTruthy()
  expect((await fetch(`${url}/name`, { headers: { accept: 'text/csv' } })).status).toBe(406)
})

test('whoever reads slowly is read ahead for by no more than the connection holds, and one who goes away ends it', async () => {
  await using server = fileServer(1000)
  const stop = new AbortController()
  const reader = (await fetch(server.url, { signal: stop.signal })).body?.getReader()
  await reader?.read()
  let before = -1
  // Until it stands still: the buffers of the connection are full.
  while (before !== server.made.count) {
    before = server.made.count
    await Bun.sleep(200)
  }
  expect(server.made.count).toBeGreaterThan(0)
  expect(server.made.count).toBeLessThan(300)
  stop.abort()
  await server.made.ended.promise
  expect(server.made.count).toBeLessThan(300)
})

test('when a piece cannot be had the connection is cut, so that nobody takes a part for the whole', async () => {
  await using server = fileServer(1000, 5)
  const answer = await fetch(server.url)
  expect(answer.status).toBe(200)
  await expect(answer.arrayBuffer()).rejects.toThrow()
})

test('the documents say of what media types a file is', async () => {
  await using server = fileServer(1)
  const { paths } = await openApiDocument({ title: 'x', version: '1', description: '' }, '/api/v1', [server.file])
  const { responses } = paths['/api/v1/file']?.['get'] ?? { responses: {} }
  expect(Object.keys(responses['200']?.content ?? {})).toEqual(['text/csv'])
  expect(Object.keys(paths['/api/v1/file/name']?.['get']?.responses['200']?.content ?? {})).toEqual(['application/json'])
  expect(JSON.stringify(paths)).not.toContain('x-gives')
})
