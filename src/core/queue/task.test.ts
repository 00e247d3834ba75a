import { expect, test } from 'bun:test'
import { buildModules, defineModule, tasksDeclared } from '../module'
import type { Ports } from '../ports'
import { Type } from '../schema'
import { defineTask, groupRuleOf, handle, handleGroup, type TaskDefaults, taskDefaults } from './task'

const declare = (defaults: object) => defineTask('a.do', Type.Object({}), defaults as TaskDefaults)

test('a task that is declared with what no store can keep, or no worker can follow, is an error at its declaration', () => {
  const bad: [object, string][] = [
    [{ priority: 12 }, 'priority must be an integer from 0 to 9'],
    [{ timeoutMs: Number.NaN }, 'timeoutMs must be'],
    [{ timeoutMs: 86_400_001 }, 'timeoutMs must be'],
    [{ maxRetries: Number.NaN }, 'maxRetries must be'],
    [{ maxRetries: '3' }, 'maxRetries must be'],
    [{ backoff: { minMs: 2, maxMs: 1, factor: 2 } }, 'backoff must be'],
    [{ backoff: null }, 'backoff must be'],
    [{ queue: '' }, 'queue must be'],
    [{ retries: 3 }, 'retries is no option'],
    [{ maxRetrys: 3 }, 'did you mean maxRetries?'],
  ]
  for (const [defaults, said] of bad) expect(() => declare(defaults)).toThrow(said)
  expect(() => declare({ priority: -1, timeoutMs: 0 })).toThrow(/the task a\.do .*priority.*; timeoutMs/)
})

test('what is not said, or is undefined, is the default of all tasks', () => {
  expect(declare({}).defaults).toEqual(taskDefaults)
  expect(declare({ queue: undefined, timeoutMs: undefined, priority: 0 }).defaults).toEqual({ ...taskDefaults, priority: 0 })
})

test('two tasks of one name cannot be in one process', () => {
  const moduleOf = (name: string, task: string) =>
    defineModule({ name, needs: [], tasks: [defineTask(task, Type.Object({}))], create: () => ({ biz: {}, faces: {} }) })
  expect(tasksDeclared([moduleOf('a', 'a.do'), moduleOf('b', 'b.do')]).map(({ name }) => name)).toEqual(['a.do', 'b.do'])
  expect(() => tasksDeclared([moduleOf('a', 'a.do'), moduleOf('b', 'a.do')])).toThrow(
    expect.objectContaining({ name: 'StartError', message: expect.stringContaining('the modules a and b both declare a task a.do') }),
  )
})

test('so is a rule that nobody could keep', () => {
  const bad: [object, string][] = [
    [{ group: true }, 'group must be an object of countMax, bytesMax, delayMs, delayMaxMs'],
    [{ group: { countMax: 1001 } }, 'group is wrong: countMax must be an integer from 1 to 1000'],
    [{ group: { bytesMax: 0, delayMs: 0 } }, 'bytesMax must be an integer from 1 to 1048576; delayMs must be'],
    [{ group: { delayMs: 100, delayMaxMs: 99 } }, 'group has a delayMaxMs below its delayMs'],
    [{ group: { delayMaxMs: 500 } }, 'which is 1000 by default'],
    [{ group: { countmax: 3 } }, 'group is wrong: countmax is no option; did you mean countMax?'],
    [{ limit: {} }, 'limit needs name'],
    [{ limit: { name: 'a b' } }, "limit is wrong: name must be like 'mail.provider'"],
    [{ limit: { name: 'l'.repeat(33) } }, 'at most 32'],
    [{ limit: { name: 'mail', concurrency: 0 } }, 'concurrency must be an integer from 1 to 1000000'],
    [{ limit: { name: 'mail', rate: { count: 5 } } }, 'rate needs perMs'],
    [{ limit: { name: 'mail', rate: { count: 0.5, perMs: 1000, burst: 0 } } }, 'rate is wrong: count must be'],
    [{ limit: { name: 'mail', rate: 5 } }, 'rate must be an object of count, perMs, burst'],
  ]
  for (const [rules, said] of bad) expect(() => declare(rules)).toThrow(said)
  const rules = { limit: { name: 'mail', concurrency: 4, rate: { count: 5, perMs: 1000, burst: 1 } }, group: { countMax: 10 } }
  expect(declare(rules).rules).toEqual(rules)
  expect(declare({}).rules).toEqual({})
  expect(declare(rules).defaults).toEqual(taskDefaults)
})

test('a group waits for as long as it was told, or for ten seconds at most, and longer only when each wait is longer', () => {
  expect(groupRuleOf({})).toEqual({ countMax: 100, bytesMax: 262_144, delayMs: 1000, delayMaxMs: 10_000 })
  expect(groupRuleOf({ countMax: 5, delayMs: 60_000 })).toMatchObject({ countMax: 5, delayMs: 60_000, delayMaxMs: 60_000 })
  expect(groupRuleOf({ delayMs: 5, delayMaxMs: 7 })).toMatchObject({ delayMs: 5, delayMaxMs: 7 })
})

test('a task with a rule for groups is handled by what takes groups, and no other is: or no process starts', () => {
  const single = defineTask('a.do', Type.Object({}))
  const grouped = defineTask('b.do', Type.Object({}), { group: {} })
  const work = async () => {}
  const start = (...tasks: ReturnType<typeof handle>[]) =>
    buildModules(
      [defineModule({ name: 'm', needs: [], tasks: [single, grouped], create: () => ({ biz: {}, faces: { tasks } }) })],
      {} as Ports,
    )
  expect(start(handle(single, work), handleGroup(grouped, work)).size).toBe(1)
  expect(() => start(handle(single, work), handle(grouped, work))).toThrow(
    'the task b.do of the module m has a rule for groups: handle it with handleGroup',
  )
  expect(() => start(handleGroup(single, work), handleGroup(grouped, work))).toThrow('the task a.do of the module m has no rule for groups')
})
