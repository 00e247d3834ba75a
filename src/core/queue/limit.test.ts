import { expect, test } from 'bun:test'
import { Type } from '../schema'
import { defineLimit, limitsOf } from './limit'
import { type AnyTask, defineTask } from './task'

test('a limit that cannot be kept is an error at its declaration', () => {
  for (const [name, rule, said] of [
    ['', {}, 'name must be'],
    ['a b', {}, 'name must be'],
    ['a/b', {}, 'name must be'],
    ['x'.repeat(33), {}, 'at most 32'],
    ['a', { concurrency: 0 }, 'concurrency must be an integer from 1 to 1000000'],
    ['a', { concurrency: '4' }, 'concurrency must be'],
    ['a', { rate: { count: 1 } }, 'rate needs perMs'],
    ['a', { rate: { count: 1, perMs: 1000, burst: 0 } }, 'rate is wrong: burst must be'],
    ['a', { rates: 1 }, 'did you mean rate?'],
  ] as const)
    expect(() => defineLimit(name, rule as never)).toThrow(said)
  expect(defineLimit('tenant', { concurrency: 4, rate: undefined as never })).toEqual({ name: 'tenant', concurrency: 4 })
  expect(() => defineTask('a.do', Type.Object({}), { limit: { name: 'x y' } })).toThrow(
    'the task a.do cannot be declared so: limit is wrong: name',
  )
  expect(() => defineTask('a.do', Type.Object({}), { limit: 'x' as never })).toThrow('limit must be an object')
})

test('limits of one name are one limit, and two that differ are refused', () => {
  const of = (name: string, ...limits: ReturnType<typeof defineLimit>[]): AnyTask[] =>
    limits.map((limit, i) => defineTask(`${name}.n${i}`, Type.Object({}), { limit }))
  const four = () => defineLimit('tenant', { concurrency: 4 })
  expect(limitsOf([...of('a', four(), defineLimit('host')), ...of('b', four()), defineTask('c.do', Type.Object({}))])).toEqual([
    { name: 'tenant', concurrency: 4 },
    { name: 'host' },
  ])
  expect(() => limitsOf([...of('a', four()), ...of('b', defineLimit('tenant', { concurrency: 5 }))])).toThrow(
    expect.objectContaining({
      name: 'StartError',
      message: expect.stringContaining('the tasks a.n0 and b.n0 are declared with limits of one name, tenant'),
    }),
  )
})
