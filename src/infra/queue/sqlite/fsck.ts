import type { Database, SqlRow } from '@/core/database'
import type { FsckFinding } from '@/core/queue/admin'
import { queueErrors } from '@/core/queue/queue'
import { leave } from './finish'
import { release } from './followers'
import { checkLanes } from './fsck-lanes'
import { endingColumns, endingOf, states } from './rows'
import { countedOf, counting, type Session } from './session'

type Finding = Omit<FsckFinding, 'queue'>
export interface Step {
  findings: Finding[]
  cursor?: string
}

/** How many tasks one step looks at. */
const pageTasks = 500
/** Counting so many takes some milliseconds; more are not counted. */
const countedMax = 50_000
/** Reading so much takes some milliseconds; a larger file is not read whole. */
const checkedMaxBytes = 16 * 1024 * 1024
const complaintsMax = 10

/**
 * One step of the check: the file itself, since all else is found with its indexes, then tasks and lanes page by page, and the counters.
 * @param session to mend what is found, in the transaction in which it is; nothing is changed when absent
 */
export async function fsck(db: Database, queue: string, cursor = 'file', session: Session | undefined): Promise<Step> {
  const [part, from] = cursor.split(' ')
  if (part === 'file') return { findings: await checkFile(db, session), cursor: 'tasks 0' }
  if (part === 'tasks' && /^\d+$/.test(from ?? '')) return checkTasks(db, queue, Number(from), session)
  if (part === 'lanes') return checkLanes(db, queue, from ?? '', session)
  if (part === 'counters') return { findings: await checkCounters(db, queue, session) }
  throw queueErrors.CursorInvalid()
}

async function checkTasks(db: Database, queue: string, after: number, session: Session | undefined): Promise<Step> {
  const rows = await db.all(
    `select ${endingColumns}, "queue", "state", "nonce", "worker", "uniqueUntil", "failures", "crashes", "errors", "delayMs" from "queueTask"
      where "seq" > ? order by "seq" limit ${pageTasks}`,
    [after],
  )
  const findings: Finding[] = []
  for (const row of rows) {
    if (row['queue'] !== queue) continue
    for (const fault of faults) {
      if (!fault.is(row)) continue
      if (session) await fault.mend(session, row)
      findings.push({ id: String(row['id']), what: fault.what, remedy: fault.remedy, fixed: session !== undefined })
    }
  }
  const last = rows.at(-1)
  return { findings, cursor: rows.length === pageTasks ? `tasks ${last?.['seq']}` : 'lanes' }
}

interface Fault {
  what: string
  remedy: string
  is(row: SqlRow): boolean
  mend(session: Session, row: SqlRow): Promise<unknown>
}

const set = (assignment: string) => (session: Session, row: SqlRow) =>
  session.tx.run(`update "queueTask" set ${assignment} where "seq" = ?`, [row['seq'] ?? null])

const isActive = (row: SqlRow) => row['state'] === states.active

/** What can be wrong of a task when somebody has changed its row by hand. */
const faults: readonly Fault[] = [
  {
    what: 'it is active, but nobody has it',
    remedy: 'it waits again',
    is: row => isActive(row) && (row['nonce'] === null || row['worker'] === null),
    async mend(session, row) {
      const task = { ...endingOf(row), failures: Number(row['failures']), crashes: Number(row['crashes']), finisher: null }
      await leave(session, await session.of(String(row['queue'])), { ...task, errors: row['errors'] ?? null }, 'head')
      session.wake(String(row['queue']))
    },
  },
  {
    what: 'it is not active, but somebody has it',
    remedy: 'it is taken from whoever that is',
    is: row => !isActive(row) && (row['nonce'] !== null || row['worker'] !== null),
    mend: set('"nonce" = null, "worker" = null'),
  },
  {
    what: 'it has ended, but holds a unique key',
    remedy: 'the key is free',
    is: row => (row['state'] === states.dead || row['state'] === states.done) && row['uniqueUntil'] !== null,
    mend: set('"uniqueUntil" = null'),
  },
  {
    what: 'it is held, and there is nobody left that it waits for',
    remedy: 'it waits in line, or for its time',
    is: row => row['state'] === states.held && Number(row['needCount'] ?? 0) <= 0,
    mend: async (session, row) => release(session, String(row['queue']), row),
  },
  {
    what: 'its errors cannot be read',
    remedy: 'they are forgotten',
    is: row => row['errors'] !== null && !isList(String(row['errors'])),
    mend: set('"errors" = null'),
  },
]

function isList(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text))
  } catch {
    return false
  }
}

const counters = ['waiting', 'scheduled', 'held', 'active', 'dead', 'kept', 'lanes'] as const

/** The row is compared in the statement that counts, so that nobody can write in between. */
async function checkCounters(db: Database, queue: string, session: Session | undefined): Promise<Finding[]> {
  // What this transaction has changed is compared, too.
  await session?.save()
  const size = await db.first(`select count(*) as "n" from (select 1 from "queueTask" where "queue" = ? limit ${countedMax + 1})`, [queue])
  if (Number(size?.['n']) > countedMax) return checkActive(db, queue, session)
  const row = await db.first(`select s.*, c.* from (${counting}) c left join "queueSummary" s on s."queue" = ?1`, [queue])
  if (!row) return []
  const real = countedOf(row)
  const wrong = counters.filter(name => Number(row[name] ?? 0) !== real[name])
  const findings = wrong.map(name => ({
    what: `${Number(row[name] ?? 0)} ${name === 'lanes' ? name : `${name} tasks`} were counted, and ${real[name]} are there`,
    remedy: 'the counter is set',
    fixed: session !== undefined,
  }))
  if (Number(row['tail'] ?? 0) < real.tail || Number(row['head'] ?? 0) > real.head)
    findings.push({
      what: 'the ends of the line are not where tasks wait',
      remedy: 'they are set, so that order is kept',
      fixed: session !== undefined,
    })
  if (session && findings.length > 0) {
    const summary = await session.of(queue)
    for (const name of counters) summary[name] = real[name]
    summary.tail = Math.max(summary.tail, real.tail)
    summary.head = Math.min(summary.head, real.head)
  }
  return findings
}

/** Of a large queue only what limits go by, and only when it is not too much. */
async function checkActive(db: Database, queue: string, session: Session | undefined): Promise<Finding[]> {
  const row = await db.first(
    `select count(*) as "real", (select "active" from "queueSummary" where "queue" = ?1) as "active" from
      (select 1 from "queueTask" where "queue" = ?1 and "state" = ${states.active} and "state" > 0 limit ${countedMax + 1})`,
    [queue],
  )
  const [real, active] = [Number(row?.['real']), Number(row?.['active'] ?? 0)]
  if (real === active || real > countedMax) return []
  if (session) (await session.of(queue)).active = real
  return [
    { what: `${active} active tasks were counted, and ${real} are there`, remedy: 'the counter is set', fixed: session !== undefined },
  ]
}

async function checkFile(db: Database, session: Session | undefined): Promise<Finding[]> {
  const size = await db.first('select page_count * page_size as "bytes" from pragma_page_count(), pragma_page_size()')
  if (Number(size?.['bytes']) > checkedMaxBytes) return []
  const rows = await db.all(`pragma integrity_check(${complaintsMax})`)
  const complaints = rows.map(row => String(Object.values(row)[0])).filter(text => text !== 'ok')
  if (complaints.length === 0) return []
  // An index can be made again from the rows; rows cannot.
  const areIndexes = complaints.every(text => /\bindex\b/i.test(text))
  const isMended = session !== undefined && areIndexes
  if (isMended) await session.tx.run('reindex')
  const remedy = areIndexes
    ? 'the indexes are made again'
    : 'restore a copy of the file, or save what can be read with `.recover` of sqlite3'
  return complaints.map(text => ({ what: `the file is damaged: ${text}`, remedy, fixed: isMended }))
}
