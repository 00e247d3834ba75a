import type { FsckFinding } from '@/core/queue/admin'
import type { RedisScript } from '../../redis'
import type { QueueDriver } from '../driver'
import { checkKeysScript, checkLineScript, checkSetScript, mendOrphansScript, searchLineScript } from './scripts/fsck'
import { checkCountsScript, checkLanesScript, checkTurnsScript, searchLanesScript } from './scripts/fsck-lanes'

/**
 * Finds what no script leaves behind, but a torn log, a lost key or a hand may: names of tasks that are gone, tasks that are in no
 * place or in two, active ones without an owner, and keys of no task. Workers run it when the server was started anew (another
 * `run_id`).
 *
 * First the sets, then the lines and lanes, then all keys. Envelopes that no set has are searched in the lines, many at a time, since a line
 * cannot be asked for one without being read. At last what is counted of lanes.
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
      return to(found, index + 1 < sets.length ? { step: 'set', index: index + 1, at: '0' } : lineFrom('p0', [], 'p'))
    }
    case 'line': {
      const { line, from, mark, lines, then } = place
      const [next, marked, found] = (await ask(checkLineScript, mode, line, from, mark)) as [number, number, string[]]
      if (next >= 0) return to(found, { ...place, from: next, mark: marked })
      const [following, ...others] = lines
      if (following) return to(found, lineFrom(following, others, then))
      if (then !== 'p') return to(found, { step: 'lanes', after: then.slice(1) })
      const priority = Number(line[1])
      return to(found, priority < 9 ? lineFrom(`p${priority + 1}`, [], 'p') : { step: 'turns', priority: 0, from: 0 })
    }
    case 'turns': {
      const { priority, from } = place
      const [next, found] = (await ask(checkTurnsScript, mode, priority, from)) as [number, string[]]
      if (next >= 0) return to(found, { ...place, from: next })
      return to(found, priority < 9 ? { step: 'turns', priority: priority + 1, from: 0 } : { step: 'lanes', after: '' })
    }
    case 'lanes': {
      const [last, found, long] = (await ask(checkLanesScript, mode, place.after)) as [string, string[], string[]]
      const [line, ...lines] = long
      if (line) return to(found, lineFrom(line, lines, `l${last}`))
      return to(found, last === '' ? keysFrom('0') : { step: 'lanes', after: last })
    }
    case 'keys': {
      const { at, search } = place
      const [next, gathered, found] = (await ask(checkKeysScript, mode, at, search)) as [string, number, string[]]
      if (gathered >= gatheredMax || (next === '0' && gathered > 0))
        return to(found, { step: 'search', at: next, search, priority: 0, from: 0 })
      return to(found, next === '0' ? { step: 'counts' } : { ...place, at: next })
    }
    case 'search': {
      const { at, search, priority, from } = place
      const [next, left] = (await ask(searchLineScript, mode, search, priority, from)) as [number, number]
      if (left === 0) return to([], keysAfter(at))
      if (next >= 0) return to([], { ...place, from: next })
      return to([], priority < 9 ? { ...place, priority: priority + 1, from: 0 } : { step: 'searchLanes', at, search, lane: '', from: 0 })
    }
    case 'searchLanes': {
      const { at, search, lane, from } = place
      const [last, seen, left] = (await ask(searchLanesScript, mode, search, lane, from)) as [string, number, number]
      if (left === 0) return to([], keysAfter(at))
      return to([], last === '' ? { step: 'orphans', at, search } : { ...place, lane: last, from: seen })
    }
    case 'orphans': {
      const { at, search } = place
      const [left, found] = (await ask(mendOrphansScript, mode, search, leaseMs)) as [number, string[]]
      return to(found, left > 0 ? place : keysAfter(at))
    }
    case 'counts': {
      const [found] = (await ask(checkCountsScript, mode)) as [string[]]
      return to(found, undefined)
    }
  }

  function to(found: readonly string[], next: Place | undefined) {
    const findings: Omit<FsckFinding, 'queue'>[] = []
    for (let i = 0; i + 1 < found.length; i += 2) {
      findings.push({ ...(found[i + 1] && { id: found[i + 1] as string }), ...(meanings[found[i] as string] as Meaning), fixed: fix })
    }
    return next ? { findings, cursor: JSON.stringify(next) } : { findings }
  }
}

/** Where the check goes on. `at` is a place in the keys of the server, of which each search begins. */
type Place =
  | { step: 'set'; index: number; at: string }
  /** `lines` are the next ones; `then` says whose they are: `p` of those of priorities, else `l` and the last lane that was looked at. */
  | { step: 'line'; line: string; from: number; mark: number; lines: string[]; then: string }
  | { step: 'turns'; priority: number; from: number }
  | { step: 'lanes'; after: string }
  | { step: 'keys'; at: string; search: string }
  | { step: 'search'; at: string; search: string; priority: number; from: number }
  | { step: 'searchLanes'; at: string; search: string; lane: string; from: number }
  | { step: 'orphans'; at: string; search: string }
  | { step: 'counts' }

const lineFrom = (line: string, lines: string[], then: string): Place => ({ step: 'line', line, from: 0, mark: 0, lines, then })
/** After a search among those that were gathered so far. */
const keysAfter = (at: string): Place => (at === '0' ? { step: 'counts' } : keysFrom(at))
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
  turnless: { what: 'is a lane in which tasks wait that would get no turn', remedy: 'give it the last one' },
  turns: { what: 'is a lane that has a turn too many', remedy: 'take it away' },
  count: { what: 'is a lane of which another number runs than was counted', remedy: 'count them' },
  laned: { what: 'not as many wait in lanes as were counted', remedy: 'count them' },
  group: { what: 'is the key of a group, and would be for ever', remedy: 'remove the key' },
}
