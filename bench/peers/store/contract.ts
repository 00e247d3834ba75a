import { Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

/** What every contender of the store benchmark does, on one table, with the same rows going in and coming out. */
export const columnsOfPeople = {
  name: Type.String({ maxLength: 64 }),
  email: Type.String({ maxLength: 254 }),
  city: Type.String({ maxLength: 64 }),
  note: Type.Optional(Type.String({ maxLength: 255 })),
  score: Type.Integer(),
  active: Type.Boolean(),
}
export const people = defineTable('bench_person', columnsOfPeople, { sortable: ['createdAt'] })

/** Timestamps are RFC 3339 texts with milliseconds. Where there is no note, each may say so by undefined or null. */
export type Person = Omit<RowOf<typeof people>, 'note'> & { note?: string | null | undefined }
export type NewPerson = Pick<Person, 'name' | 'email' | 'city' | 'note' | 'score' | 'active'>
export type PersonPatch = Partial<Pick<NewPerson, 'city' | 'score'>>

export interface PersonPage {
  items: Person[]
  /** Empty on the last page. */
  nextPageToken: string
}

export interface People {
  readonly name: string
  get(id: string): Promise<Person | undefined>
  /** In the order of `ids`; those that are not there are left out. */
  getMany(ids: readonly string[]): Promise<Person[]>
  /** `listSize` people, the newest first, those of one millisecond by descending id. */
  list(pageToken?: string): Promise<PersonPage>
  /** Makes the id (UUIDv7), both stamps and the version. */
  create(person: NewPerson): Promise<Person>
  createMany(people: readonly NewPerson[]): Promise<Person[]>
  /** The row as it was written, with the next version; a change at the same time is never lost. */
  update(id: string, patch: PersonPatch): Promise<Person>
  close(): Promise<void>
}

export const listSize = 20
/** How often an update begins again when somebody else was faster. */
export const updateAttempts = 5
export const columnNames = people.columns.map(({ name }) => name)

export function made(person: NewPerson): Person {
  const now = new Date().toISOString()
  return {
    id: Bun.randomUUIDv7(),
    name: person.name,
    email: person.email,
    city: person.city,
    note: person.note ?? null,
    score: person.score,
    active: person.active,
    createdAt: now,
    updatedAt: now,
    version: 1,
  }
}

export const changed = (person: Person, patch: PersonPatch): Person => ({
  ...person,
  ...patch,
  updatedAt: new Date().toISOString(),
  version: person.version + 1,
})

/** Puts found rows in the order in which they were asked for. */
export function inOrder(ids: readonly string[], found: readonly Person[]): Person[] {
  const byId = new Map(found.map(person => [person.id, person]))
  const ordered: Person[] = []
  for (const id of ids) {
    const person = byId.get(id)
    if (person) ordered.push(person)
  }
  return ordered
}

/** One page of `listSize + 1` rows that were asked for; the row too many says that there is another page. */
export function pageOf(rows: Person[]): PersonPage {
  if (rows.length <= listSize) return { items: rows, nextPageToken: '' }
  rows.length = listSize
  const last = rows[listSize - 1] as Person
  return { items: rows, nextPageToken: JSON.stringify([last.createdAt, last.id]) }
}

export const tokenOf = (pageToken: string): [createdAt: string, id: string] => JSON.parse(pageToken)

export const notThere = (id: string): Error => new Error(`there is no person ${id}`)
export const contended = (id: string): Error => new Error(`others keep changing person ${id}`)

/** DATETIME(3) in UTC as the server writes it, to RFC 3339. It leaves a fraction of zero out in binary rows. */
export const fromDatetime = (stored: string): string => `${stored.slice(0, 10)}T${stored.slice(11, 19)}${stored.slice(19) || '.000'}Z`
export const toDatetime = (timestamp: string): string => `${timestamp.slice(0, 10)} ${timestamp.slice(11, 23)}`
