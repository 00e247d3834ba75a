import { toTimestamp } from '@/core/clock'
import type { ErrorGroup, ErrorGroups } from '@/core/queue/bulk'
import type { QueueDriver, StoredTask } from '../driver'
import { readEnvelope } from '../envelope'
import { pagesOf } from './pages'

/** How many groups are told, and how many are kept while it is not known which of them are the largest. */
const groupsMax = 100
const keptMax = 1000
const errorMaxChars = 200

interface Group {
  task: string | undefined
  error: string
  count: number
  oldestMs: number
  newestMs: number
  sampleId: string
}

/** Reads dead letters, newest first, at most so many, and holds no more of them than the groups that they make. */
export async function errorsOf(driver: QueueDriver, queue: string, scannedMax: number): Promise<ErrorGroups> {
  const groups = new Map<string, Group>()
  let scanned = 0
  let isPartial = false
  for await (const { tasks } of pagesOf(driver, queue, 'dead')) {
    const some = tasks.slice(0, scannedMax - scanned)
    scanned += some.length
    for (const task of some) note(groups, task)
    isPartial = some.length < tasks.length
    if (isPartial) break
  }
  const largest = [...groups.values()].toSorted((a, b) => b.count - a.count).slice(0, groupsMax)
  const told = largest.reduce((sum, { count }) => sum + count, 0)
  return { groups: largest.map(viewOf), scanned, others: scanned - told, isPartial }
}

function note(groups: Map<string, Group>, { id, envelope, errors, atMs = 0 }: StoredTask): void {
  const task = envelope === undefined ? undefined : readEnvelope(envelope)?.task
  const error = kindOf(errors.at(-1)?.message ?? '')
  const key = JSON.stringify([task, error])
  const known = groups.get(key)
  if (!known) {
    if (groups.size < keptMax) groups.set(key, { task, error, count: 1, oldestMs: atMs, newestMs: atMs, sampleId: id })
    return
  }
  known.count++
  known.oldestMs = Math.min(known.oldestMs, atMs)
  known.newestMs = Math.max(known.newestMs, atMs)
}

const viewOf = ({ task, error, count, oldestMs, newestMs, sampleId }: Group): ErrorGroup => ({
  ...(task !== undefined && { task }),
  ...{ error, count, oldest: toTimestamp(oldestMs), newest: toTimestamp(newestMs), sampleId },
})

/** What differs between errors of one kind, and what stands for it. Each looks at a bounded text once. */
const changing: readonly (readonly [RegExp, string])[] = [
  [/"[^"\n]*"|`[^`\n]*`|“[^”\n]*”|(?<![\p{L}\d])'[^'\n]*'(?![\p{L}\d])/gu, '<text>'],
  [/\b[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\b/gi, '<id>'],
  // A word of letters and digits that is too long to be a name.
  [/\b(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{12,}\b/gi, '<id>'],
  [/\b0x[\da-f]+\b/gi, '<n>'],
  [/\d+(?:[.,:]\d+)*/g, '<n>'],
]

/** @param message at most 1,000 characters */
export const kindOf = (message: string): string =>
  changing.reduce((text, [what, sign]) => text.replaceAll(what, sign), message).slice(0, errorMaxChars)
