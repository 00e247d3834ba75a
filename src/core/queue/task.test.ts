import { expect, test } from 'bun:test'
import { defineModule, tasksDeclared } from '../module'
import { Type } from '../schema'
import { defineTask, type TaskDefaults, taskDefaults } from './task'

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
