import type { Database } from '@/core/database'
import { Bytes, Decimal, OneOf, secret, Type } from '@/core/schema'
import { createStore, type NewRow } from '@/core/store'
import { defineTable, type RowOf } from '@/core/table'
import { thingErrors } from './fixture'

/** A table whose rows are kept in the cache, for so short a time that a test sees it end. */
export const ttlMs = 400
export const cards = defineTable(
  'card',
  {
    name: Type.String({ maxLength: 60 }),
    code: Type.Optional(Type.String({ maxLength: 60 })),
    amount: Type.Integer(),
    kind: OneOf(['red', 'blue'], { description: 'Its color.' }),
    pin: secret(Type.String({ maxLength: 60 })),
    photo: Type.Optional(Bytes(100, 'Raw.')),
    price: Type.Optional(Decimal(12, 2, 'Exact.')),
  },
  {
    unique: [
      { columns: ['name'], taken: thingErrors.NameTaken },
      { columns: ['kind', 'code'], taken: thingErrors.CodeTaken },
      { columns: ['price'], taken: thingErrors.SlugTaken },
    ],
    softDelete: true,
    cache: { ttlMs },
  },
)
export type Card = RowOf<typeof cards>

/** One of several processes on a database: its own connections and its own cache. */
export interface Process {
  db: Database
  store: ReturnType<typeof cardStore>
  /** How often the database was asked for rows. */
  asked(): number
  close(): Promise<void>
}
export const cardStore = (db: Database) => createStore(db, cards)

let count = 0
export const newCard = (over: Partial<NewRow<Card>> = {}): NewRow<Card> => ({
  name: `card ${count++}`,
  amount: 0,
  kind: 'red',
  pin: 'pin',
  ...over,
})
