import { StartError } from '@/core/error'
import { type Entry, note } from './ledger'
import type { Session } from './lock'
import { type Direction, type MigrateOptions, watched } from './progress'

export interface Run {
  id: string
  direction: Direction
  statements: readonly string[]
  /** Of the first so many. */
  checksum(count: number): string
}

/**
 * Runs the statements that `entry` does not note as done, and notes each before it begins and when it is done.
 * @throws StartError that says what stays and what to do
 */
export async function runStatements(session: Session, run: Run, entry: Entry | undefined, options: MigrateOptions): Promise<void> {
  const { id, direction, statements } = run
  const noteAt = async (begunStatements: number, doneStatements: number) => {
    await note(session.tx, { id, direction, checksum: run.checksum(begunStatements), begunStatements, doneStatements })
    await session.commit()
  }
  const { begunStatements: begun = 0, doneStatements: done = 0 } = entry ?? {}
  if (statements.length === 0) await noteAt(0, 0)
  for (const [i, statement] of statements.entries()) {
    if (i < done) continue
    await noteAt(i + 1, i)
    const say = (seconds: number) =>
      options.progress?.({ isWaiting: false, id, direction, statement: i + 1, of: statements.length, seconds })
    say(0)
    try {
      await watched(options, say, () => session.tx.run(statement))
    } catch (thrown) {
      const errno = errnoOf(thrown)
      const mayBeDone = i < begun && !session.isAllOrNothing
      if (!(mayBeDone && errno !== undefined && saysDone.has(errno))) {
        // Only what the server has refused is known not to be there; after silence the next run looks.
        if (errno !== undefined && !session.isAllOrNothing) await noteAt(i, i).catch(() => {})
        throw failed(session, run, i, thrown)
      }
    }
    await noteAt(i + 1, i + 1)
  }
}

/**
 * What a server answers when the change it is asked for is there already: a table, column or index that exists, or that is to go
 * and does not. That is taken as done for the one statement that an earlier run began and did not hear the end of, and for no
 * other. It is safe because servers carry out such a statement whole or not at all, nobody else migrates meanwhile, and had the
 * change been there before that run, the server would have refused the statement then, which is noted.
 */
const saysDone = new Set([1050, 1051, 1060, 1061, 1091])

/** The number of the server's refusal; undefined when no answer came. */
function errnoOf(thrown: unknown): number | undefined {
  for (const error of [thrown, (thrown as Error | undefined)?.cause]) {
    const { errno } = (error ?? {}) as { errno?: unknown }
    if (typeof errno === 'number' && errno >= 1000) return errno
  }
  return undefined
}

function failed({ isAllOrNothing }: Session, { id, direction, statements }: Run, i: number, thrown: unknown): StartError {
  const why = thrown instanceof Error ? thrown.message : String(thrown)
  const remains =
    isAllOrNothing || i === 0
      ? 'nothing of it was kept; try again when that is mended'
      : `the ${i} before it ${i === 1 ? 'was' : 'were'} kept; mend that, and 'bingo migrate ${direction}' goes on with this statement`
  return new StartError(`migration ${id} failed at statement ${i + 1} of ${statements.length}: ${why}; ${remains}`, undefined, {
    cause: thrown,
  })
}
