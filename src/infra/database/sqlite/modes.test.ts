import { expect, test } from 'bun:test'
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { loadConfig } from '@/core/config/load'
import { openConfiguredDatabase } from '@/infra/ports'
import { temporaryFolder } from '@/testing/bingo'
import { fakeLog, fakeMetrics } from '@/testing/fakes'

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

async function openIn(folder: string) {
  const { config } = loadConfig({ env: { BINGO_DATABASE_URL: `sqlite:${folder}/bingo.db` }, flags: {}, readFile: () => '' })
  const db = await openConfiguredDatabase(config, { log: fakeLog(), metrics: fakeMetrics() })
  await db.run('create table "t" ("id" integer)')
  return db
}

test('nobody else on the machine can read the folder that is made, nor any file in it', async () => {
  using folder = temporaryFolder()
  // Nothing is left to what whoever starts it has set.
  const before = process.umask(0)
  const db = await openIn(`${folder.path}/made/data`).finally(() => process.umask(before))
  expect([modeOf(`${folder.path}/made`), modeOf(`${folder.path}/made/data`)]).toEqual(['700', '700'])
  const modes = readdirSync(`${folder.path}/made/data`).map(name => [name, modeOf(`${folder.path}/made/data/${name}`)])
  expect(Object.fromEntries(modes)).toEqual({ 'auth.key': '600', 'bingo.db': '600', 'bingo.db-shm': '600', 'bingo.db-wal': '600' })
  await db.close()
})

test('a folder and a file that are there stay as they are, and what SQLite adds is as the file', async () => {
  using folder = temporaryFolder()
  const data = `${folder.path}/shared`
  mkdirSync(data)
  writeFileSync(`${data}/bingo.db`, '')
  chmodSync(data, 0o750)
  chmodSync(`${data}/bingo.db`, 0o640)
  const db = await openIn(data)
  expect([data, `${data}/bingo.db`, `${data}/bingo.db-wal`].map(modeOf)).toEqual(['750', '640', '640'])
  await db.close()
})
