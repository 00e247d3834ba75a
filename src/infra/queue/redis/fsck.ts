import type { FsckFinding } from '@/core/queue/admin'
import type { RedisScript } from '../../redis'
import type { QueueDriver } from '../driver'
import { checkKeysScript, checkLineScript, checkSetScript, mendOrphansScript, searchLineScript } from './scripts/fsck'

/**
 * Finds what no script leaves behind, but a torn log, a lost key or a hand may: names of tasks that are gone, tasks that are in no
 * place or in two, active ones without an owner, and keys of no task. Workers run it when the server was started anew (another
 * `run_id`).
 *
 * First the sets, then the lines, then all keys. Envelopes that no set has are searched in the lines, many at a time, since a line
 * cannot be asked for one without being read.
 */
export async function fsckStep(
  ask: (script: RedisScript, ...args: (string | number)[]) => Promise<unknown>,
  { fix, leaseMs, cursor }: Parameters<QueueDriver['fsck']>[1],
): ReturnType<QueueDriver['fsck']> {
  const place: Place = cursor === undefined ? { step: 'set', index: 0, at: '0' } : JSON.parse(cursor)
  const mode = fix ? 1 : 0
  switch (place.step) {
    case 'set': {
      const { index, at } = place
      const [next, found] = (await ask(checkSetScript, mode, sets[index] as string, at)) as [string, string[]]
      if (next !== '0') return to(found, { ...place, at: next })
      return to(
        found,
        index + 1 < sets.length ? { step: 'set', index: index + 1, at: '0' } : { step: 'line', priority: 0, from: 0, mark: 0 },
      )
    }
    case 'line': {
      const { priority, from, mark } = place
      const [next, marked, found] = (await ask(checkLineScript, mode, priority, from, mark)) as [number, number, string[]]
      if (next >= 0) return to(found, { ...place, from: next, mark: marked })
      return to(found, priority < 9 ? { step: 'line', priority: priority + 1, from: 0, mark: 0 } : keysFrom('0'))
    }
    case 'keys': {
      const { at, search } = place
      const [next, gathered, found] = (await ask(checkKeysScript, mode, at, search)) as [string, number, string[]]
      if (gathered >= gatheredMax || (next === '0' && gathered > 0))
        return to(found, { step: 'search', at: next, search, priority: 0, from: 0 })
      return to(found, next === '0' ? undefined : { ...place, at: next })
    }
    case 'search': {
      const { at, search, priority, from } = place
      const [next, left] = (await ask(searchLineScript, mode, search, priority, from)) as [number, number]
      if (left === 0) return to([], at === '0' ? undefined : keysFrom(at))
      if (next >= 0) return to([], { ...place, from: next })
      return to([], priority < 9 ? { ...place, priority: priority + 1, from: 0 } : { step: 'orphans', at, search })
    }
    case 'orphans': {
      const { at, search } = place
      const [left, found] = (await ask(mendOrphansScript, mode, search, leaseMs)) as [number, string[]]
      if (left > 0) return to(found, place)
      return to(found, at === '0' ? undefined : keysFrom(at))
    }
  }

  function to(found: readonly string[], next: Place | undefined) {
    const findings: Omit<FsckFinding, 'queue'>[] = []
    for (let i = 0; i + 1 < found.length; i += 2) {
      findings.push({ id: found[i + 1] as string, ...(meanings[found[i] as string] as Meaning), fixed: fix })
    }
    return next ? { findings, cursor: JSON.stringify(next) } : { findings }
  }
}

/** Where the check goes on. `at` is a place in the keys of the server, of which each search begins. */
type Place =
  | { step: 'set'; index: number; at: string }
  | { step: 'line'; priority: number; from: number; mark: number }
  | { step: 'keys'; at: string; search: string }
  | { step: 'search'; at: string; search: string; priority: number; from: number }
  | { step: 'orphans'; at: string; search: string }

const keysFrom = (at: string): Place => ({ step: 'keys', at, search: crypto.randomUUID() })

const sets = ['act', 'own', 'sch', 'dead', 'done', 'hld']
/** Envelopes that are searched at a time; about 7 MB on the server. */
const gatheredMax = 100_000

type Meaning = Pick<FsckFinding, 'what' | 'remedy'>
const meanings: Record<string, Meaning> = {
  void: { what: 'is named, and there is no such task', remedy: 'remove the name' },
  twice: {
    what: 'is in two places',
    remedy: 'remove it from the lesser: active, then dead, then done, then scheduled, then held, then waiting',
  },
  ended: { what: 'is held, and all that it waits for have ended', remedy: 'let it wait in line, or for its time' },
  aimless: { what: 'is held, and nobody knows for what', remedy: 'make it a dead letter, so that somebody decides' },
  unowned: { what: 'is active, and nobody has it', remedy: 'put it where its last attempt has left it' },
  orphan: { what: 'is in no place, so nobody would find it', remedy: 'put it where its last attempt has left it' },
  leftover: { what: 'has counters, errors, progress or a result, and there is no such task', remedy: 'remove them' },
  unique: { what: 'has a unique key, and there is no such task that lives', remedy: 'remove the key' },
  group: { what: 'is the key of a group, and would be for ever', remedy: 'remove the key' },
}
