import type { Codec, Database } from '@/core/database'

/** What every driver is given for the stores on it. */
export type StoreTools = Pick<Database, 'clock' | 'seal'>

/** What every driver opens. */
export interface OpenDatabase extends Database {
  /** @throws Unavailable or Timeout when the next request would not be answered either */
  ping(): Promise<void>
  /** Lets what is under way finish, then closes. */
  close(): Promise<void>
}

/** No database here has a boolean of its own that comes back as one. */
export const booleanCodec: Codec = {
  encode: (value: boolean) => (value ? 1 : 0),
  decode: (stored: number) => stored === 1,
}

/** `tx` of a transaction. */
export const refuseNested: Database['tx'] = async () => {
  throw new Error('transactions do not nest; hand tx on to what should take part in it')
}
