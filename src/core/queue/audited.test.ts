import { expect, test } from 'bun:test'
import { fakeAudit, fakeLog } from '@/testing/fakes'
import { changedByHand, enqueuedByHand, idsNotedMax } from './audited'

const by = { actor: 'commandLine', address: 'host' }
const setUp = () => {
  const audit = fakeAudit()
  return { audit, told: { audit, by, log: fakeLog() } }
}

test('many tasks that are named are written down in a few lines, before they are changed, and what could not be changed once more', async () => {
  const { audit, told } = setUp()
  const ids = Array.from({ length: idsNotedMax + 1 }, (_, i) => `id ${i}`)
  const seen: number[] = []
  await changedByHand(told, 'task.move', ids, { queue: 'mail', to: 'bulk' }, async some => {
    seen.push(audit.events.length)
    return some.filter(id => id === 'id 7')
  })
  const first = ids.slice(0, idsNotedMax)
  const all = { action: 'task.move', object: 'queue:mail', actor: 'commandLine' }
  expect(audit.events).toMatchObject([
    { ...all, after: { count: idsNotedMax, to: 'bulk', ids: first } },
    { ...all, outcome: 'failed', after: { count: 1, to: 'bulk', ids: ['id 7'] } },
    { ...all, after: { count: 1, to: 'bulk', ids: [ids.at(-1)] } },
  ])
  expect(seen).toEqual([1, 3])
})

test('nothing is changed when it cannot be written down', async () => {
  const { told } = setUp()
  const audit = { note: () => Promise.reject(new Error('no database')) }
  let done = 0
  const work = async () => {
    done++
    return []
  }
  await expect(changedByHand({ ...told, audit }, 'task.retry', ['a', 'b'], {}, work)).rejects.toThrow('no database')
  await expect(enqueuedByHand({ ...told, audit }, 'mail.send', {}, work)).rejects.toThrow('no database')
  expect(done).toBe(0)
})

test('what is enqueued is written down under the id that it gets', async () => {
  const { audit, told } = setUp()
  const id = await enqueuedByHand(told, 'mail.send', { queue: 'bulk' }, async named => named.id)
  expect(audit.events).toMatchObject([{ action: 'task.enqueue', object: `task:${id}`, after: { task: 'mail.send', queue: 'bulk', id } }])
})
