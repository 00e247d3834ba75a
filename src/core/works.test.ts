import { expect, test } from 'bun:test'
import { defineRole, type Role } from './role'
import { withConcurrency, worksOf } from './works'

const role = (name: string, works: object, pools?: object) =>
  defineRole({
    name,
    summary: '',
    modules: [],
    serves: [],
    works: works as Role['works'] & object,
    ...(pools && { pools: pools as never }),
  })
const refused = (...roles: Role[]): string => {
  try {
    worksOf(roles)
  } catch (thrown) {
    expect(thrown).toMatchObject({ name: 'StartError' })
    return (thrown as Error).message
  }
  throw new Error('it was not refused')
}

test('a process works the queues of its roles, as many tasks at a time as they say or its settings', () => {
  const one = role('one', { mail: { concurrency: 2 }, slow: { concurrency: 3 } })
  const two = role('two', { mail: { concurrency: 8 } })
  const bot = role('bot', { bot: { concurrency: 1 } })
  const works = worksOf([one, two])
  expect(works).toEqual({ queues: { mail: { concurrency: 8 }, slow: { concurrency: 3 } }, pools: {} })
  const all = worksOf([one, two, bot])
  expect(withConcurrency(works, all, ['slow:16', 'bot:4']).queues).toEqual({ mail: { concurrency: 8 }, slow: { concurrency: 16 } })
  for (const said of [['mial:4'], ['mail:1', 'mail:2']])
    expect(() => withConcurrency(works, all, said)).toThrow(expect.objectContaining({ exitCode: 78 }))
})

test('the setting may name a pool, and not a queue that has its slots there', () => {
  const works = worksOf([role('one', { mail: { pool: 'shared', weight: 3 }, sms: { pool: 'shared' } }, { shared: { concurrency: 32 } })])
  const said = withConcurrency(works, works, ['shared:4'])
  expect(said).toEqual({ queues: works.queues, pools: { shared: { concurrency: 4 } } })
  expect(() => withConcurrency(works, works, ['mail:4'])).toThrow('the queue mail has slots of the pool shared, so say shared:4')
  expect(() => withConcurrency(works, works, ['mial:4'])).toThrow('what has slots are shared')
})

test('a pool of two roles of one process has the slots of the larger', () => {
  const one = role('one', { mail: { pool: 'shared' } }, { shared: { concurrency: 4, order: 'strict' } })
  const two = role('two', { sms: { pool: 'shared' } }, { shared: { concurrency: 9, order: 'strict' } })
  expect(worksOf([one, two]).pools).toEqual({ shared: { concurrency: 9, order: 'strict' } })
  expect(worksOf([two, one]).pools).toEqual({ shared: { concurrency: 9, order: 'strict' } })
})

test('what cannot be worked as a role says is refused with its file, and with what to do', () => {
  const pool = { shared: { concurrency: 4 } }
  for (const [works, pools, said] of [
    [{ mail: { concurrency: 0 } }, undefined, 'roles/r.ts: the queue mail cannot be so: concurrency must be an integer from 1 to 9999'],
    [{ 'A b': { concurrency: 1 } }, undefined, '"A b" cannot be the name of a queue'],
    [{ mail: {} }, undefined, 'the queue mail has no slots; say { concurrency: 8 }'],
    [{ mail: { concurrency: 1, pool: 'shared' } }, pool, 'slots of its own and of a pool'],
    [{ mail: { concurrency: 1, weight: 2 } }, undefined, 'has a weight and no pool'],
    [{ mail: { pool: 'shard' }, sms: { pool: 'shared' } }, pool, 'the pool shard, which is not declared there (pools are: shared)'],
    [{ mail: { pool: 'shared' } }, undefined, "add pools: { 'shared': { concurrency: 32 } }"],
    [{ mail: { pool: 'shared', weight: 0 } }, pool, 'weight must be an integer from 1 to 1000'],
    [{ mail: { pool: 'shared', weight: 1001 } }, pool, 'weight must be'],
    [{ mail: { pool: 'shared' } }, { shared: {} }, 'the pool shared cannot be so: concurrency must be'],
    [{ mail: { pool: 'shared' } }, { shared: { concurrency: 1, order: 'fair' } }, "order must be 'weighted' or 'strict'"],
    [{ mail: { concurrency: 1 } }, pool, 'no queue has its slots from the pool shared'],
    [{ mail: { pool: 'mail' } }, { mail: { concurrency: 1 } }, 'a pool and a queue are both named mail'],
    [{ mail: { concurrency: 1, concurencyMax: 3 } }, undefined, 'did you mean concurrencyMax?'],
    [{ mail: { concurrency: 1, concurrencyMax: 0 } }, undefined, 'concurrencyMax must be'],
    [{ mail: { concurrency: 1, backlogMax: -1 } }, undefined, 'backlogMax must be'],
    [{ mail: { concurrency: 1, rate: { count: 0, perMs: 1000 } } }, undefined, 'rate is wrong: count must be an integer from 1'],
    [{ mail: { concurrency: 1, rate: 10 } }, undefined, 'rate must be an object of count, perMs, burst'],
  ] as const)
    expect(refused(role('r', works, pools))).toContain(said)
})

test('what holds of a queue everywhere is said alike by all roles that work it', () => {
  const own = { concurrency: 1 }
  const pools = { shared: { concurrency: 4 } }
  for (const [one, two, part] of [
    [{ ...own, concurrencyMax: 4 }, { ...own, concurrencyMax: 5 }, 'concurrencyMax'],
    [{ ...own, concurrencyMax: 4 }, own, 'concurrencyMax'],
    [{ ...own, rate: { count: 1, perMs: 10 } }, { ...own, rate: { count: 1, perMs: 11 } }, 'rate'],
    [own, { ...own, backlogMax: 5 }, 'backlogMax'],
    [{ ...own, keepDeadMs: 6 }, { ...own, keepDeadMs: 5 }, 'keepDeadMs'],
  ] as const)
    expect(refused(role('a', { mail: one }), role('b', { mail: two }))).toBe(
      `roles/a.ts and roles/b.ts differ in the ${part} of the queue mail; say the same in both`,
    )
  expect(refused(role('a', { mail: own }), role('b', { mail: { pool: 'shared' } }, pools))).toContain(
    'differ in the pool of the queue mail',
  )
  const weighing = (weight: number) => role('a', { mail: { pool: 'shared', weight } }, pools)
  expect(refused(weighing(1), weighing(2))).toContain('differ in the weight')
  const ordered = (order: string) => role('a', { mail: { pool: 'shared' } }, { shared: { concurrency: 4, order } })
  expect(refused(ordered('strict'), ordered('weighted'))).toContain('differ in the order of the pool shared')
  const rate = { count: 5, perMs: 1000, burst: 2 }
  worksOf([role('a', { mail: { ...own, rate } }), role('b', { mail: { concurrency: 9, rate: { ...rate } } })])
})
