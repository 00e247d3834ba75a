import type { Database, SQLQueryBindings, Statement } from 'bun:sqlite'
import { DataSource, EntitySchema, type EntitySchemaColumnOptions, In, type ValueTransformer } from 'typeorm'
import { openSqliteFile } from './by-hand-sqlite'
import {
  changed,
  contended,
  inOrder,
  listSize,
  made,
  notThere,
  type People,
  type Person,
  pageOf,
  tokenOf,
  updateAttempts,
} from './contract'

/** TypeORM with the calls of its repository that ask least: `insert` and `update`, not `save`, which reads first. */
export async function typeormOnMysql(url: string, poolSize: number): Promise<People> {
  const entity = entityOf({
    type: 'datetime',
    precision: 3,
    // Its driver makes Dates both ways.
    transformer: { from: (stored: Date) => stored.toISOString(), to: (value: string) => value },
  })
  const source = new DataSource({
    type: 'mysql',
    url,
    poolSize,
    charset: 'utf8mb4',
    timezone: 'Z',
    supportBigNumbers: true,
    bigNumberStrings: false,
    entities: [entity],
  })
  return typeorm(await source.initialize(), entity, value => new Date(value))
}

/** better-sqlite3, which TypeORM wants, does not load in Bun; so it is given bun:sqlite in the same shape. */
export async function typeormOnSqlite(path: string): Promise<People> {
  const entity = entityOf({
    type: 'integer',
    transformer: { from: (stored: number) => new Date(stored).toISOString(), to: (value: string | number) => millis(value) },
  })
  const source = new DataSource({ type: 'better-sqlite3', database: path, driver: BetterSqlite3, entities: [entity] })
  return typeorm(await source.initialize(), entity, Date.parse)
}

const millis = (value: string | number) => (typeof value === 'number' ? value : Date.parse(value))

/** Row values are quick on SQLite, and on MySQL read the whole index. */
const afterOn: Record<string, string> & { mysql: string } = {
  mysql: 'p.createdAt <= :at and (p.createdAt < :at or p.id < :id)',
  'better-sqlite3': '(p.createdAt, p.id) < (:at, :id)',
}

const entityOf = (stamp: EntitySchemaColumnOptions & { transformer: ValueTransformer }) =>
  new EntitySchema<Person>({
    name: 'bench_person',
    tableName: 'bench_person',
    columns: {
      id: { type: 'varchar', primary: true },
      name: { type: 'varchar' },
      email: { type: 'varchar' },
      city: { type: 'varchar' },
      note: { type: 'varchar', nullable: true },
      score: { type: 'int' },
      active: { type: 'boolean' },
      createdAt: stamp,
      updatedAt: stamp,
      version: { type: 'int' },
    },
  })

function typeorm(source: DataSource, entity: EntitySchema<Person>, stored: (timestamp: string) => Date | number): People {
  const repository = source.getRepository(entity)
  return {
    name: 'TypeORM',
    get: async id => (await repository.findOneBy({ id })) ?? undefined,
    getMany: async ids => inOrder(ids, await repository.findBy({ id: In([...ids]) })),
    async list(pageToken) {
      const newestFirst = repository
        .createQueryBuilder('p')
        .orderBy('p.createdAt', 'DESC')
        .addOrderBy('p.id', 'DESC')
        .limit(listSize + 1)
      if (!pageToken) return pageOf(await newestFirst.getMany())
      const [createdAt, id] = tokenOf(pageToken)
      const after = newestFirst.where(afterOn[source.options.type] ?? afterOn.mysql, { at: stored(createdAt), id })
      return pageOf(await after.getMany())
    },
    async create(person) {
      const row = made(person)
      await repository.insert(row)
      return row
    },
    async createMany(people) {
      const rows = people.map(made)
      await repository.insert(rows)
      return rows
    },
    async update(id, patch) {
      for (let attempt = 1; attempt <= updateAttempts; attempt++) {
        const person = await repository.findOneBy({ id })
        if (!person) throw notThere(id)
        const next = changed(person, patch)
        const { affected } = await repository.update(
          { id, version: person.version },
          { ...patch, updatedAt: next.updatedAt, version: next.version },
        )
        if (affected) return next
      }
      throw contended(id)
    },
    close: () => source.destroy(),
  }
}

/** bun:sqlite in the shape of better-sqlite3, as far as TypeORM uses it. */
class BetterSqlite3 {
  readonly #db: Database

  constructor(path: string) {
    this.#db = openSqliteFile(path)
  }

  prepare(text: string) {
    const statement: Statement = this.#db.query(text)
    return {
      reader: statement.columnNames.length > 0,
      all: (...values: SQLQueryBindings[]) => statement.all(...values),
      run: (...values: SQLQueryBindings[]) => statement.run(...values),
    }
  }

  pragma(text: string) {
    return this.#db.query(`pragma ${text}`).all()
  }

  exec(text: string) {
    this.#db.run(text)
  }

  close() {
    this.#db.close()
  }
}
