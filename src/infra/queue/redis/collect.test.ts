import { expect, test } from 'bun:test'
import { describeOnRedis, onEachRedis } from '@/testing/backings'
import { lossyProxy } from '@/testing/lossy-proxy'
import { checkAll, claim, newKey, newTask, openSubject } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import type { NewTask } from '../driver'
import { enqueueRelatedScript } from './scripts/enqueue'

const queue = 'q'
const hourMs = 3_600_000
const group = { key: newKey(), countMax: 100, bytesMax: 10_000, delayMs: hourMs, delayMaxMs: hourMs }
const member = (envelope: string, said: Partial<NewTask> = {}) => newTask({ envelope, group, ...said })

describeOnRedis('a join whose answer was lost', () => {
  test('is made once, and the caller is told which group it is in', async () => {
    await using server = await startOwn('redis')
    using proxy = lossyProxy(server.port)
    await using subject = await openSubject(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 3000 })
    const { driver } = subject
    const [first] = await driver.enqueue(queue, [member('one')])
    proxy.loseAnswers(2, enqueueRelatedScript.sha)
    // An id of digits is no number of the reply.
    const replies = await driver.enqueue(queue, [member('two'), member('three', { isIdKept: true }), newTask({ id: '17' })])
    expect(proxy.lost).toBe(2)
    expect(replies).toEqual([
      { id: first?.id ?? '', status: 'joined' },
      { id: first?.id ?? '', status: 'joined' },
      { id: '17', status: 'enqueued' },
    ])
    expect((await driver.show(queue, first?.id ?? ''))?.envelope).toBe('one\ntwo\nthree')
  })

  test('is made once in a group whose id is a number', async () => {
    await using server = await startOwn('redis')
    using proxy = lossyProxy(server.port)
    await using subject = await openSubject(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 3000 })
    const { driver } = subject
    await driver.enqueue(queue, [member('one', { id: '1' })])
    proxy.loseAnswers(1, enqueueRelatedScript.sha)
    expect(await driver.enqueue(queue, [member('two')])).toEqual([{ id: '1', status: 'joined' }])
  })
})

onEachRedis('the name of a group', open => {
  async function opened() {
    const { url, isCluster } = await open()
    const subject = await openSubject(url, { isCluster })
    const add = async (envelope: string, said: Partial<NewTask> = {}) => (await subject.driver.enqueue(queue, [member(envelope, said)]))[0]
    const keyOf = (suffix: string) => `${subject.prefix}:{${queue}}:${suffix}`
    return { ...subject, add, keyOf, isCluster }
  }

  test('goes by itself, some time after the group has started at the latest', async () => {
    await using subject = await opened()
    const { add, raw, keyOf, isCluster } = subject
    // A server of a cluster answers for its own slots only.
    if (isCluster) return
    await add('one')
    const ttlMs = await raw.pttl(keyOf(`g:${group.key}`))
    expect(ttlMs).toBeGreaterThanOrEqual(hourMs)
    expect(ttlMs).toBeLessThan(hourMs + 10_000)
  })

  test('may be lost: the next opens another group, and nothing is wrong', async () => {
    await using subject = await opened()
    const { add, raw, keyOf, driver, isCluster } = subject
    if (isCluster) return
    const first = await add('one')
    await raw.del(keyOf(`g:${group.key}`))
    expect((await add('two'))?.status).toBe('enqueued')
    expect((await add('three'))?.status).toBe('joined')
    expect((await driver.show(queue, first?.id ?? ''))?.envelope).toBe('one')
    expect(await checkAll(driver, queue)).toEqual([])
  })

  test('that would be there for ever is found by the check', async () => {
    await using subject = await opened()
    const { add, raw, keyOf, driver, isCluster } = subject
    if (isCluster) return
    await add('one')
    await raw.persist(keyOf(`g:${group.key}`))
    expect(await checkAll(driver, queue, true)).toEqual([`${group.key} is the key of a group, and would be for ever`])
    expect(await checkAll(driver, queue)).toEqual([])
  })

  test('leads to no other task that has the same id by now', async () => {
    await using subject = await opened()
    const { add, driver } = subject
    await add('one', { id: 'again' })
    await driver.cancel(queue, ['again'])
    await driver.enqueue(queue, [newTask({ id: 'again', envelope: 'other', delayMs: hourMs - 1000 })])
    expect((await add('two'))?.status).toBe('enqueued')
    expect((await driver.show(queue, 'again'))?.envelope).toBe('other')
  })

  test('a group that is lost from what is scheduled is found, put back at its time, and added to', async () => {
    await using subject = await opened()
    const { add, raw, keyOf, driver, isCluster } = subject
    if (isCluster) return
    const first = await add('one')
    await add('two')
    await raw.del(keyOf('sch'))
    expect(await checkAll(driver, queue, true)).toHaveLength(1)
    expect(await add('three')).toEqual({ id: first?.id ?? '', status: 'joined' })
    expect(await claim(driver, queue)).toMatchObject({ tasks: [] })
    expect(await checkAll(driver, queue)).toEqual([])
  })
})
