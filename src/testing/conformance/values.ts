import { expect, test } from 'bun:test'
import { inspect } from 'node:util'
import type { Database, SqlValue } from '@/core/database'
import { createLogOn } from '@/infra/log'
import type { Backing, BackingName } from '../backings'
import { newThing, openAgain, useThings } from './fixture'

/** What becomes of the values of statements: they arrive, and they leave only as rows. */
export function valueSuite(open: () => Promise<Backing>, name: BackingName): void {
  const things = useThings(open)

  test('errors hold no values, however they are looked at', async () => {
    const secret = 'canary'
    const unique = newThing({ name: `it's ${secret} "or" not`, code: `${secret}' for key 'x` })
    await things.store.create(unique)
    const set = (column: string, value: SqlValue) => [`update "thing" set "${column}" = ? where "name" = ?`, [value, unique.name]] as const
    const onServers = [
      set('amount', secret),
      set('amount', `1' for column 'amount' at row 1 ${secret}`),
      set('happensAt', secret),
      set('happensAt', `'${secret}'`),
      set('kind', secret.repeat(100)),
      [`select cast(? as json) as "x" union all select json_extract(?, '$.a')`, [secret, secret]],
      [`select json_extract('{}', ?) as "x"`, [secret]],
      [`select st_geomfromtext(?) as "x"`, [secret]],
      [`update "thing" set "amount" = "amount" + ? where "name" = ?`, [`9${secret}`, unique.name]],
      [`set time_zone = ?`, [secret]],
    ] as const
    const onSqlite = [
      [`select json_extract('{}', ?) as "x"`, [secret]],
      [`select json_extract('{}', ?) as "x"`, [`$."it's ${secret}`]],
      [`select json(?) as "x"`, [secret]],
      [`update "thing" set "id" = ?, "note" = json_extract(?, '$.x')`, [secret, secret]],
    ] as const
    const statements: (readonly [string, readonly SqlValue[]])[] = [
      // The two keys, of which each names its value.
      [
        `insert into "thing" select ?, "name", ?, "note", "amount", "isOpen", "kind", "happensAt", "createdAt", "updatedAt", 1 from "thing" where "name" = ?`,
        ['a', 'b', unique.name],
      ],
      [
        `insert into "thing" select ?, ?, "code", "note", "amount", "isOpen", "kind", "happensAt", "createdAt", "updatedAt", 1 from "thing" where "name" = ?`,
        ['a', 'b', unique.name],
      ],
      [`select nonsense from "thing" where "name" = ?`, [secret]],
      [`selec ?`, [secret]],
      ...(name === 'sqlite' ? onSqlite : onServers),
    ]
    const ask = async (db: Database, [sql, params]: (typeof statements)[number]) => {
      try {
        await db.run(sql, params)
        return undefined
      } catch (thrown) {
        return thrown
      }
    }
    const thrown: unknown[] = []
    for (const statement of statements) {
      thrown.push(await ask(things.db, statement))
      thrown.push(await things.db.tx(tx => ask(tx, statement)))
    }
    const errors = thrown.filter(each => each instanceof Error)
    // Some of these a server takes; most it must refuse, or nothing is shown here.
    expect(errors.length).toBeGreaterThanOrEqual(name === 'sqlite' ? 14 : 20)
    const lines: string[] = []
    const log = createLogOn(line => lines.push(line), 'debug')
    for (const err of errors) log.error('failed', { err })
    for (const err of errors) expect(everythingIn(err)).not.toContain(secret)
    expect(lines.join('')).not.toContain(secret)
    // What helps remains.
    expect(lines.join('')).toMatch(name === 'sqlite' ? /SQLITE_CONSTRAINT_UNIQUE/ : /ER_DUP_ENTRY.*for key '[^']*thing_(name|code)'/)
    if (name !== 'sqlite') expect(lines.join('')).toMatch(/Incorrect datetime value: '…' for column .{1,80}happensAt. at row 1/)
  })

  /** An error, its causes, and every field of them, as text. */
  function everythingIn(thrown: unknown, depth = 0): string {
    if (!(thrown instanceof Error) || depth > 5) return inspect(thrown, { depth: 10, showHidden: true })
    const fields = Object.getOwnPropertyNames(thrown).map(key => `${key}: ${inspect((thrown as never)[key], { depth: 10 })}`)
    const text = [String(thrown), thrown.stack, JSON.stringify(thrown), inspect(thrown, { depth: 10, showHidden: true }), ...fields]
    return `${text.join('\n')}\n${everythingIn(thrown.cause, depth + 1)}`
  }

  test('integers beyond 2^53 can be given as bigint, and a reader may say where to read', async () => {
    const row = await things.store.create(newThing())
    const big = 9_007_199_254_740_993n
    const columns = 'cast("amount" as char) as "amount"'
    const select = `select ${name === 'sqlite' ? columns.replace('char', 'text') : columns} from "thing" where "id" = ? and "amount" >= ?`
    await things.db.run('update "thing" set "amount" = ? where "id" = ?', [big, row.id])
    expect(await things.db.first(select, [row.id, big], { from: 'primary' })).toEqual({ amount: String(big) })
    expect(await things.db.all(select, [row.id, big + 1n])).toEqual([])
    expect(await things.db.tx(tx => tx.first(select, [row.id, big]))).toEqual({ amount: String(big) })
  })

  test('each write that is committed is told with its position, where the server has one', async () => {
    const told: (string | undefined)[] = []
    const db = await openAgain(things.backing, {}, { onWrite: position => told.push(position) })
    const remove = 'delete from "thing" where "id" = ?'
    const add = (to: Database, id: string) =>
      to.run(
        `insert into "thing" values (?, ?, ?, null, 1, 1, 'big', ${name === 'sqlite' ? 1 : "'2026-01-01'"}, ${name === 'sqlite' ? '1, 1' : "'2026-01-01', '2026-01-01'"}, 1)`,
        [id, id, id],
      )
    await add(db, 'p1')
    await db.tx(async tx => {
      await add(tx, 'p2')
      await tx.run(remove, ['p1'])
      expect(told).toHaveLength(1)
    })
    await db.first('select 1')
    await db.tx(tx => tx.first('select 1'))
    await db
      .tx(async tx => {
        await add(tx, 'p3')
        throw new Error('no')
      })
      .catch(() => {})
    const position = { sqlite: undefined, mariadb: expect.stringMatching(/^0-1-\d+$/), mysql: expect.stringMatching(/^[0-9a-f-]{36}:\d+$/) }
    expect(told).toStrictEqual([position[name], position[name]])
    if (name !== 'sqlite') expect(told[0]).not.toBe(told[1])
    await db.close()
  })

  test('SQLite tells that another process has written, once, and not of its own writes', async () => {
    if (name !== 'sqlite') {
      expect(things.db.changedElsewhere).toBeUndefined()
      return
    }
    const db = await openAgain(things.backing)
    const other = await openAgain(things.backing)
    const asked = () => db.changedElsewhere?.()
    const askedToo = db.elsewhereReader?.()
    expect(asked()).toBe(false)
    await db.run('update "thing" set "amount" = 1')
    await db.tx(tx => tx.run('update "thing" set "amount" = 2'))
    expect(asked()).toBe(false)
    await other.run('update "thing" set "amount" = 3')
    expect([asked(), asked()]).toEqual([true, false])
    expect([askedToo?.(), askedToo?.()]).toEqual([true, false])
    await db.tx(async () => expect(asked()).toBe(false))
    await other.tx(tx => tx.run('update "thing" set "amount" = 4'))
    await other.tx(tx => tx.first('select 1'))
    expect([asked(), asked()]).toEqual([true, false])
    await other.close()
    await db.close()
  })
}
