import type { FieldProblem } from '@/core/error'
import type { AnyTask } from '@/core/queue/task'
import { faultsOf } from '@/core/schema'
import { faultOfJson } from './json'

/** What is wrong with a payload of a task, with pointers into it; undefined when it can be enqueued, as far as its size is not asked. */
export function payloadFaults(task: AnyTask, payload: unknown): readonly FieldProblem[] | undefined {
  const fault = faultOfJson(payload)
  if (fault) return [fault]
  return task.check(payload) === undefined ? undefined : faultsOf(task.schema, payload)
}

/** @param payload one that JSON can say */
export function sizeFault(payload: unknown, maxBytes: number): FieldProblem | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(payload))
  if (bytes <= maxBytes) return undefined
  return {
    pointer: '',
    detail: `is ${bytes} bytes of JSON, and may be ${maxBytes}: keep what is large elsewhere and name it, or raise queue.payloadMaxBytes`,
  }
}
