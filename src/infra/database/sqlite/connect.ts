import { Database as Connection, type Statement } from 'bun:sqlite'
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { StartError } from '@/core/error'
import { busyBlockMs, type Patience } from './patience'

const statementsMax = 500

/** Opens the file for writing and for reading. @throws StartError when it cannot be opened or is no SQLite database */
export async function connect(path: string, patiently: Patience): Promise<{ writer: Connection; reader: Connection }> {
  try {
    make(path)
    const writer = new Connection(path, { create: true, readwrite: true, strict: true })
    writer.run(`pragma busy_timeout = ${busyBlockMs}`)
    await patiently('pragma journal_mode = wal', () => {
      writer.run('pragma journal_mode = wal')
      // FULL: what was answered with 201 is on the disk, also after a power cut.
      writer.run('pragma synchronous = full')
      writer.run('pragma foreign_keys = on')
    })
    const reader = new Connection(path, { readonly: true, strict: true })
    reader.run(`pragma busy_timeout = ${busyBlockMs}`)
    return { writer, reader }
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown)
    throw new StartError(`cannot open the SQLite database ${path}: ${why}; check that it is one, and that its folder may be written`)
  }
}

/**
 * Hashes of passwords, payloads of tasks and their errors are for nobody else on the machine. A folder or file that is there already is
 * as somebody wanted it; those that SQLite adds (`-wal`, `-shm`) get the mode of the file.
 */
function make(path: string): void {
  mkdirSync(dirname(resolve(path)), { recursive: true, mode: 0o700 })
  if (existsSync(path)) return
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (thrown) {
    // Another process was faster.
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
  }
}

export interface Statements {
  of(sql: string): Statement
  /** To be called before the connection is closed, which else stays open for them, and with it the file. */
  finalize(): void
}

/**
 * SQLite takes a `"name"` that it does not know for the text of it; `name` in backticks it refuses. So a column that is missing is
 * an error here, too, instead of a filter that matches what it should not.
 */
export const withStrictNames = (sql: string): string =>
  sql.replace(/'(?:[^']|'')*'|"((?:[^"]|"")*)"/g, (found, name?: string) =>
    name === undefined ? found : `\`${name.replaceAll('`', '``')}\``,
  )

/** Statements by their text, compiled once. The least recently added falls out when there are too many. */
export function statements(connection: Connection): Statements {
  const prepared = new Map<string, Statement>()
  return {
    of(sql) {
      const found = prepared.get(sql)
      if (found) return found
      const statement = connection.prepare(withStrictNames(sql))
      if (prepared.size >= statementsMax) {
        const [oldest] = prepared
        if (oldest) {
          oldest[1].finalize()
          prepared.delete(oldest[0])
        }
      }
      prepared.set(sql, statement)
      return statement
    },
    finalize() {
      for (const statement of prepared.values()) statement.finalize()
      prepared.clear()
    },
  }
}
