import { columnType } from '@/core/column'
import type { Database } from '@/core/database'
import { columnWords } from '@/core/migration'
import { seeded } from '../../measure'
import { bingo } from './bingo'
import { listSize, type NewPerson, type People, people, type PersonPatch } from './contract'
import type { OpenDatabase } from '@/infra/database/driver'

/** What is asked of every contender, and the rows that it is asked about. */
export const rowCount = 10_000
export const pagesWalked = 10
const loadBatch = 500
const getManySize = 50
const createManySize = 100

export interface Operation {
  name: string
  /** Steps of one worker of several; each does one operation and throws when the answer is not what it must be. */
  of(contender: People, ids: readonly string[], worker: number, workers: number): () => Promise<void>
}

export const get: Operation = {
  name: 'get',
  of({ get }, ids, worker) {
    const random = seeded(worker)
    return async () => {
      if (!(await get(ids[random(ids.length)] as string))) throw new Error('a person was not found')
    }
  },
}

export const operations: readonly Operation[] = [
  get,
  {
    name: `getMany(${getManySize})`,
    of({ getMany }, ids, worker) {
      const random = seeded(worker)
      return async () => {
        const found = await getMany(manyOf(ids, random(ids.length)))
        if (found.length !== getManySize) throw new Error(`${found.length} of ${getManySize} people were found`)
      }
    },
  },
  {
    name: `list(${listSize})`,
    of({ list }) {
      let token = ''
      let pages = 0
      return async () => {
        const { items, nextPageToken } = await list(pages % pagesWalked === 0 ? undefined : token)
        if (items.length !== listSize || !nextPageToken) throw new Error(`a page had ${items.length} people`)
        token = nextPageToken
        pages++
      }
    },
  },
  {
    name: 'update',
    of({ update }, ids, worker, workers) {
      const random = seeded(worker)
      return async () => {
        // Each worker has its own rows: what is compared is not how contention is met.
        const id = ids[worker + workers * random(Math.floor(ids.length / workers))] as string
        if ((await update(id, patchOf(random(1000)))).id !== id) throw new Error('another person was updated')
      }
    },
  },
  {
    name: 'create',
    of({ create }, _, worker) {
      const random = seeded(worker)
      return async () => {
        if (!(await create(newPerson(random(rowCount)))).id) throw new Error('no person was made')
      }
    },
  },
  {
    name: `createMany(${createManySize})`,
    of({ createMany }, _, worker) {
      const random = seeded(worker)
      return async () => {
        const first = random(rowCount)
        const made = await createMany(Array.from({ length: createManySize }, (__, i) => newPerson(first + i)))
        if (made.length !== createManySize) throw new Error(`${made.length} people were made`)
      }
    },
  },
]

/** Distinct ids from all over the table. */
export function manyOf(ids: readonly string[], first: number): string[] {
  const step = Math.floor(ids.length / getManySize)
  return Array.from({ length: getManySize }, (_, i) => ids[(first + i * step) % ids.length] as string)
}

const patchOf = (i: number): PersonPatch => ({ city: i % 2 === 0 ? 'London' : 'Paris', score: i })

export function newPerson(i: number): NewPerson {
  const person = { name: `Person ${i}`, email: `person${i}@example.com`, city: 'London', score: i, active: i % 2 === 0 }
  return i % 3 === 0 ? person : { ...person, note: 'Met at the analytical engine.' }
}

/** Makes the table and fills it. */
export async function addPeople(db: OpenDatabase): Promise<void> {
  await makeTable(db)
  const { createMany } = bingo(db)
  for (let first = 0; first < rowCount; first += loadBatch) {
    await createMany(Array.from({ length: loadBatch }, (_, i) => newPerson(first + i)))
  }
}

export async function makeTable(db: Database): Promise<void> {
  const words = columnWords[db.dialect.name]
  const columns = people.columns.map(column => `"${column.name}" ${columnType(column, words)}${column.isOptional ? '' : ' not null'}`)
  await db.run(`create table "${people.name}" (${columns.join(', ')}, primary key ("id")) ${words.tableOptions}`)
  for (const index of people.indexes) await db.run(words.index(people.name, index.columns))
}

export async function idsOf(db: Database): Promise<string[]> {
  return (await db.all('select "id" from "bench_person" order by "id"')).map(({ id }) => id as string)
}
