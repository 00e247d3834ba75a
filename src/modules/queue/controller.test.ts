import { expect, test } from 'bun:test'
import { asCaller } from '@/core/caller'
import { onEachBacking } from '@/testing/backings'
import type { Problem } from '@/testing/http-client'
import { greet, useQueueAdmin } from '@/testing/queue-admin'
import type { ErrorGroupPage, FindingPage, Queue, QueuePage } from './schema'

onEachBacking('what administrators do with queues', (open, name) => {
  const scene = useQueueAdmin(open)
  const add = (queue: string, ids: readonly string[]) =>
    scene.queue.enqueuing([greet]).enqueueMany(
      greet,
      ids.map(id => ({ payload: { to: 'Ada' }, queue, id })),
    )

  test('queues are listed with how full they are, and one is shown', async () => {
    await add('mail', ['a', 'b'])
    const { status, body } = await scene.send<QueuePage>('GET', '/queues')
    expect([status, body.nextPageToken, body.items.map(({ name }) => name)]).toEqual([200, '', ['default', 'mail', 'bulk']])
    const mail = await scene.send<Queue>('GET', '/queues/mail')
    expect(mail.body).toMatchObject({ name: 'mail', waiting: 2, dead: 0, isPaused: false, total: { enqueued: 2, done: 0 } })
    expect([mail.body.outbox, mail.body.oldestWaitingMs === undefined]).toEqual([name === 'sqlite' ? undefined : 0, false])
    expect(body.items[1]).toMatchObject({ name: 'mail', waiting: 2 })
  })

  test('nothing of a paused queue is started until it is resumed, and both are written down', async () => {
    expect((await scene.send<Queue>('POST', '/queues/mail/pause')).body).toMatchObject({ name: 'mail', isPaused: true })
    expect(await scene.claim('mail', 1)).toEqual([])
    expect((await scene.send<Queue>('POST', '/queues/mail/resume')).body).toMatchObject({ isPaused: false })
    expect((await scene.claim('mail', 1)).map(({ id }) => id)).toEqual(['a'])
    expect(await scene.events()).toMatchObject(
      ['pause', 'resume'].map(verb => ({ actor: 'admin:writer', action: `queue.${verb}`, object: 'queue:mail', outcome: 'done' })),
    )
    expect(scene.log.lines.map(({ message }) => message)).toEqual(expect.arrayContaining(['a queue was paused', 'a queue was resumed']))
  })

  test('while nothing can be written down, nothing is paused', async () => {
    scene.loseAudit(true)
    try {
      expect((await scene.send('POST', '/queues/mail/pause')).status).toBe(500)
      expect((await scene.send('POST', '/queues/mail/mend')).status).toBe(500)
    } finally {
      scene.loseAudit(false)
    }
    expect((await scene.queueAdmin.stats('mail')).isPaused).toBe(false)
  })

  test('a request that must take effect once has it written down for good before anything is done elsewhere', async () => {
    const { driver } = scene.queue
    const { pause } = driver
    const written: number[] = []
    const countOf = async () => (await scene.events()).length
    driver.pause = async queue => {
      // Who looks from elsewhere sees what is committed.
      written.push(await asCaller({}, countOf))
      return pause(queue)
    }
    const before = await countOf()
    const ask = () => scene.send<Queue>('POST', '/queues/mail/pause', undefined, { 'idempotency-key': 'pause-once' })
    const [first, again] = [await ask(), await ask()]
    driver.pause = pause
    expect([first.body.isPaused, again.headers.get('idempotency-replayed')]).toEqual([true, 'true'])
    // In the database itself both commit together.
    expect(written).toEqual([name === 'sqlite' ? before : before + 1])
    expect(await countOf()).toBe(before + 1)
    await scene.send('POST', '/queues/mail/resume')
  })

  test('dead letters are told by what they died of', async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `dead-${i}`)
    await add('bulk', ids)
    await scene.die('bulk', ids.slice(0, 7), 'connect ECONNREFUSED 10.0.0.1:25')
    await scene.die('bulk', ids.slice(7), 'mailbox of <b>Ada</b> is full')
    const { body } = await scene.send<ErrorGroupPage>('GET', '/queues/bulk/errors')
    expect(body).toMatchObject({ scanned: 12, others: 0, isPartial: false })
    expect(body.items.map(({ task, error, count }) => [task, error, count])).toEqual([
      [greet.name, 'connect ECONNREFUSED <n>', 7],
      [greet.name, 'mailbox of <b>Ada</b> is full', 5],
    ])
    expect((await scene.send<ErrorGroupPage>('GET', '/queues/bulk/errors?scannedMax=3')).body).toMatchObject({
      scanned: 3,
      isPartial: true,
    })
    for (const scannedMax of ['0', '100001', 'x'])
      expect((await scene.send('GET', `/queues/bulk/errors?scannedMax=${scannedMax}`)).status).toBe(400)
  })

  test('what does not belong together is found, and mended when somebody says so', async () => {
    const whole = async (method: string, path: string) => {
      const found: FindingPage['items'] = []
      for (let token = '', isOver = false; !isOver; isOver = token === '') {
        const { status, body } = await scene.send<FindingPage>(
          method,
          `/queues/bulk/${path}${token && method === 'GET' ? `?pageToken=${encodeURIComponent(token)}` : ''}`,
          token && method === 'POST' ? { pageToken: token } : undefined,
        )
        expect(status).toBe(200)
        found.push(...body.items)
        token = body.nextPageToken
      }
      return found
    }
    expect(await whole('GET', 'findings')).toEqual([])
    await scene.damage('bulk')
    const found = await whole('GET', 'findings')
    expect(found.length).toBeGreaterThan(0)
    expect(found.every(({ queue, isFixed }) => queue === 'bulk' && !isFixed)).toBe(true)
    expect(await whole('GET', 'findings')).toEqual(found)
    expect((await whole('POST', 'mend')).some(({ isFixed }) => isFixed)).toBe(true)
    expect(await whole('GET', 'findings')).toEqual([])
    const mended = async () => (await scene.events()).filter(({ action }) => action === 'queue.mend')
    const [first, ...more] = await mended()
    expect(first).toMatchObject({ object: 'queue:bulk', outcome: 'done', after: { goesOn: false } })
    for (const event of more) expect(event).toMatchObject({ object: 'queue:bulk', outcome: 'done', after: { goesOn: true } })
    // Whoever says where to go on has perhaps not begun; and what fails is written down, too.
    const count = more.length + 1
    expect((await scene.send<Problem>('POST', '/queues/bulk/mend', { pageToken: 'x' })).body.code).toBe('InvalidArgument.PageToken')
    expect((await mended()).slice(count)).toMatchObject([
      { object: 'queue:bulk', outcome: 'done', after: { goesOn: true } },
      { object: 'queue:bulk', outcome: 'failed', reason: 'InvalidArgument.PageToken' },
    ])
  })

  test('a queue that nobody works is not found', async () => {
    const before = await scene.events()
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/pause'],
      ['POST', '/resume'],
      ['GET', '/errors'],
      ['GET', '/findings'],
      ['POST', '/mend'],
    ] as const) {
      const { status, body } = await scene.send<Problem>(method, `/queues/nobody${path}`)
      expect([method, path, status, body.code]).toEqual([method, path, 404, 'NotFound.QueueNotFound'])
    }
    expect((await scene.send<Problem>('GET', '/queues/bulk/findings?pageToken=x')).body.code).toBe('InvalidArgument.PageToken')
    expect(await scene.events()).toEqual(before)
  })
})
