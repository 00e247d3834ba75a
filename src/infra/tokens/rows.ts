import type { Database, SqlRow } from '@/core/database'

/** The table "signingKey": key pairs that sign access tokens, or have, or will. Instants are milliseconds since 1970. */
export interface SigningKeyRow {
  /** The `kid` of its tokens. */
  id: string
  /** Which one it is, from 1: unique, so of processes that make the next one at a time one succeeds. */
  number: number
  /** Ed25519 (RFC 8032), base64url: the `x` of its JWK. */
  publicKey: string
  /** Encrypted under the root key, bound to `id` and `publicKey`. */
  privateKey: string
  /** Signs from then on, until the next one does. */
  usableAtMs: number
  createdAtMs: number
}

const columns = ['id', 'number', 'publicKey', 'privateKey', 'usableAtMs', 'createdAtMs'] as const
const listed = columns.map(column => `"${column}"`).join(', ')
/** Far more than there ever are: one each rotation, of which two or three are kept. */
const keysMax = 100

export interface SigningKeyRows {
  /** Oldest first. */
  list(): Promise<SigningKeyRow[]>
  /** @throws UniqueViolation when there is one of this number */
  insert(row: SigningKeyRow): Promise<void>
  remove(ids: readonly string[]): Promise<void>
}

export const signingKeyRows = (db: Database): SigningKeyRows => ({
  async list() {
    const newest = `select ${listed} from "signingKey" order by "number" desc limit ${keysMax}`
    return (await db.all(newest, [], { from: 'primary' })).map(rowOf).toReversed()
  },
  async insert(row) {
    const marks = columns.map(() => '?').join(', ')
    await db.run(
      `insert into "signingKey" (${listed}) values (${marks})`,
      columns.map(column => row[column]),
    )
  },
  async remove(ids) {
    if (ids.length > 0) await db.run(`delete from "signingKey" where "id" in (${ids.map(() => '?').join(', ')})`, ids)
  },
})

const rowOf = (row: SqlRow): SigningKeyRow => ({
  id: String(row['id']),
  number: Number(row['number']),
  publicKey: String(row['publicKey']),
  privateKey: String(row['privateKey']),
  usableAtMs: Number(row['usableAtMs']),
  createdAtMs: Number(row['createdAtMs']),
})
