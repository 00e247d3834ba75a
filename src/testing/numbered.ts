import { defineTask, type Task } from '@/core/queue/task'
import { Type } from '@/core/schema'

/** What the tests of the worker do; its payload is a number. */
export type Numbered = Task<{ n: number }>
export const numbered = (name = 'number.count', defaults: Parameters<typeof defineTask>[2] = {}): Numbered =>
  defineTask(name, Type.Object({ n: Type.Integer() }, { additionalProperties: false }), defaults)
