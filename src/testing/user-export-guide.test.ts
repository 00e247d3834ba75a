import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { executable, startBingo, temporaryFolder } from './bingo'
import { until } from './conformance/cache-fixture'
import { blocksOf, root, shell } from './guides'
import { newAdministrator } from './clients'
import { newSignUp, send } from './http-client'

const guide = 'docs/user-export.md'

test('the commands of the guide to exports do what it says', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
  const bingo = await startBingo({ roles: 'all', env })
  expect((await send('POST', `${bingo.urls['api']}/api/v1/users`, newSignUp())).status).toBe(201)
  const operator = await newAdministrator(bingo.urls['admin'] ?? '', env)
  const blocks = await blocksOf(guide)
  const [ask, look, fetchAndRemove, operate] = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
  let id = ''
  const run = async (commands = '') => {
    const here = commands.replaceAll('localhost:8081', new URL(bingo.urls['admin'] ?? '').host).replaceAll('ID', id)
    const { stdout, code } = await shell(`bingo() { ${executable} "$@"; }\n${here}`, folder.path, { ...env, TOKEN: operator.credential })
    expect([here, code]).toEqual([here, 0])
    return stdout
  }

  const asked = await run(ask)
  expect(asked).toStartWith('HTTP/1.1 202 Accepted\r\n')
  id = /^location: \/admin\/v1\/user-exports\/(\S+)/im.exec(asked)?.[1] ?? ''
  await until(async () => JSON.parse(await run(look)).state === 'done', 10_000)
  expect(JSON.parse(await run(look))).toMatchObject(JSON.parse(blocks.find(({ language }) => language === 'json')?.text ?? ''))
  expect(await run(fetchAndRemove)).toContain(`{"items":[{"id":"${id}"`)
  expect(await Bun.file(join(folder.path, 'users.csv')).text()).toStartWith(
    'id,username,email,nickname,status,createdAt,updatedAt,version\r\n',
  )
  expect((await operator.send('GET', `${bingo.urls['admin']}/admin/v1/user-exports/${id}`)).status).toBe(404)
  expect(await run(operate)).toContain('enqueued')
  const made = async () => (await operator.send<{ items: object[] }>('GET', `${bingo.urls['admin']}/admin/v1/user-exports`)).body.items
  await until(async () => (await made()).length === 1, 10_000)
  expect(await bingo.stop()).toBe(0)
}, 30_000)

test('what the guide to exports shows of a file stands there', async () => {
  const shown = (await blocksOf(guide)).filter(({ language }) => language === 'ts')
  expect(shown).toHaveLength(1)
  for (const { title, text } of shown) expect(await Bun.file(join(root, title)).text()).toContain(text)
})
