import { expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { openAgain } from '@/testing/conformance/fixture'
import { fillDisk, smallDisk } from '@/testing/small-disk'

const page = new Uint8Array(4096).fill(1)
const insert = 'insert into "blob" ("bytes") values (?)'

test('while the disk is full writes are Unavailable and reads go on; once there is room, writes do too', async () => {
  using disk = smallDisk()
  const db = await openAgain({ url: `sqlite:${disk.path}/full.db` })
  await db.run('create table "blob" ("id" integer primary key, "bytes" blob not null)')
  await db.run(insert, [page])
  const ballast = `${disk.path}/ballast`
  if (disk.isSmall) fillDisk(ballast)
  // Elsewhere SQLite is told that it may not grow, which it says in the same way.
  else await db.tx(tx => tx.first('pragma max_page_count = 8'))

  let count = 1
  let failed: unknown
  while (failed === undefined && count < 1000) {
    await db.run(insert, [page]).then(
      () => count++,
      thrown => {
        failed = thrown
      },
    )
  }
  const unavailable = { code: 'Unavailable.Unreachable', retryAfterSeconds: 1, cause: { code: 'SQLITE_FULL' } }
  expect(failed).toMatchObject(unavailable)
  const counted = async () => (await db.first('select count(*) as "n" from "blob"'))?.['n']
  expect(await counted()).toBe(count)

  // SQLite has undone the transaction by itself: what the work does after swallowing the error must not be committed alone.
  const swallowing = db.tx(async tx => {
    // More than SQLite keeps in memory, so that the disk is full before the commit.
    await tx.run('insert into "blob" ("bytes") values (zeroblob(4000000))').catch(() => {})
    await tx.run('delete from "blob"').catch(() => {})
  })
  await expect(swallowing).rejects.toMatchObject(unavailable)
  await swallowing.catch(() => {})
  expect(await counted()).toBe(count)

  if (disk.isSmall) rmSync(ballast)
  else await db.tx(tx => tx.first('pragma max_page_count = 1000000'))
  await db.run(insert, [page])
  await db.tx(tx => tx.run(insert, [page]))
  expect(await counted()).toBe(count + 2)
  await db.close()
})
