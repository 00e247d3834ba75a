import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { roles } from '@roles'
import { auditsOf, permissionsOf } from '@/app'
import { documentOf, unopened } from '@/http-faces'
import { adminCommand } from '@/cli/admin'
import { leaves } from '@/core/config/leaf'
import { settings } from '@/core/config/settings'
import { authenticator } from './authenticator'
import { executable, startBingo, temporaryFolder } from './bingo'
import { blocksOf, rowsUnder, sentencesUnder, shell, testTitles } from './guides'

const guide = 'docs/admin.md'
const bare = (cell = '') => cell.replaceAll('`', '')

test('what the guide to administration promises is tested', async () => {
  const sentences = await sentencesUnder(guide, 'What is promised')
  expect(sentences.length).toBeGreaterThan(20)
  const titles = await testTitles(guide)
  expect(sentences.filter(sentence => !titles(sentence))).toEqual([])
})

test('the guide to administration names each part of the admin server, each permission, and each setting with its default', async () => {
  const admin = roles.find(({ serves }) => serves[0] === 'admin')
  const { paths = {} } = (admin && (await documentOf(admin, unopened, 'test'))) ?? {}
  const parts = new Set(Object.keys(paths).map(path => path.split('/').slice(0, 4).join('/')))
  expect((await rowsUnder(guide, 'What is there')).map(([part]) => bare(part)).toSorted()).toEqual([...parts].toSorted())
  const permissions = permissionsOf(roles).map(({ name, summary }) => [name, summary])
  expect((await rowsUnder(guide, 'Roles')).map(([name, summary = '']) => [bare(name), summary])).toEqual(permissions)
  const own = leaves(settings).filter(({ key }) => key.startsWith('admin.'))
  expect((await rowsUnder(guide, 'What is left to you')).map(([key, value]) => [bare(key), bare(value)])).toEqual(
    own.map(({ key, schema }) => [key, String(schema.default)]),
  )
})

test('the guide to administration names all that is written into the audit log, and nothing else', async () => {
  const declared = auditsOf(roles)
  expect(declared.length).toBeGreaterThan(30)
  const said = (await rowsUnder(guide, 'The audit log')).flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name),
  )
  expect(said.toSorted()).toEqual(declared)
})

test('the guide to administration names all that bingo admin does', async () => {
  const names = adminCommand.usage.split(' ')[0]?.split('|')
  expect((await rowsUnder(guide, 'The command line')).map(([name]) => bare(name))).toEqual(names ?? [])
})

/** What the commands of the guide print, in its order; those of a second factor are told what the app shows. */
const expected: RegExp[] = [
  /^grace {2}active {2}root\n$/,
  /^\{"administrator":\{.*"permissions":\["\*"\].*"provenUntil":"/,
  /^\{"expiresInSeconds":600,"administrator":\{[^\n]*$/,
  /^type this into the app: [A-Z2-7]{32}\n$/,
  /^\{"recoveryCodes":\["[A-Z2-9-]{29}",.*\]\}$/,
  /"secondFactor":\{"confirmedAt":".*","recoveryCodesLeft":10\}/,
  /^\{"provenUntil":"/,
  /^$/,
  /^\{"username":"ada"\}\{.*"code":"PermissionDenied.Permission".*does not have the permission roles:read/,
  /^\{"items":\[\{.*"username":"linus".*"status":"suspended".*"status":"active".*\{"endedCount":0\}$/,
  /"inEffect":\{"maintenance":\{"isOn":true.*"detail":"Back at noon.".*"code":"Unavailable.Maintenance".*"inEffect":\{"maintenance":\{"isOn":false\}/,
  /"state":"scheduled".*"progress":\{"total":0.*"state":"cancelled"/,
  /"name":"bulk","waiting":0.*"isPaused":true.*"state":"waiting","task":"user.export".*"result":"cancelled".*"isPaused":false/,
  /^\{"total":0,"seen":0,"matched":0,"done":0,"skipped":0,"nextPageToken":""\}$/,
  /^\{"items":\[\{[^}]*"actorName":"grace".*"action":"user.suspend".*"before":\{"status":"active"\},"after":\{"status":"suspended"\}/,
  /^the audit log is whole: \d+ events\nit began at \S+\nhead \d+:[\w-]{43}\nthe audit log is whole: .*\nit began .*\nhead .*\nit goes on from the head that was noted, \d+\n$/,
  /^\{"version":".+","processId":".+","processes":\[\{.*"isAlive":true.*"dependencies":\[\{"name":"database","isReady":true/,
  /^retry: \d+\n\nevent: queues\nid: .*\ndata: \{"items":\[.*\n\nevent: processes\n/,
]

test('the commands of the guide to administration do what it says', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
  const bingo = await startBingo({ roles: 'api,admin', env })
  const blocks = (await blocksOf(guide)).filter(({ language }) => language === 'sh')
  expect(blocks).toHaveLength(expected.length)
  let app: ReturnType<typeof authenticator> | undefined
  for (const [i, { text }] of blocks.entries()) {
    const code = text.includes('123456') ? ((await app?.next()) ?? '') : ''
    const here = text
      .replaceAll('localhost:8080', new URL(bingo.urls['api'] ?? '').host)
      .replaceAll('localhost:8081', new URL(bingo.urls['admin'] ?? '').host)
      .replaceAll('123456', code)
    // A reader stays in one shell: what a block sets is there in the next.
    const around = (script: string) => `bingo() { ${executable} "$@"; }\nset -a\n[ -f set ] && . ./set\n${script}\nexport -p > set`
    const { stdout, stderr, code: exit } = await shell(around(here), folder.path, env)
    expect([here, exit, stderr]).toEqual([here, 0, expect.any(String)])
    expect(stdout).toMatch(expected[i] as RegExp)
    const [, seed] = /into the app: (\w+)/.exec(stdout) ?? []
    if (seed !== undefined) app = authenticator(seed)
  }
  const cookies = await Bun.file(join(folder.path, 'cookies')).text()
  for (const name of ['__Host-bingo-access', '__Host-bingo-refresh']) expect(cookies).toContain(`\t${name}\t`)
  const file = await Bun.file(join(folder.path, 'events.csv')).text()
  expect(file).toStartWith('seq,id,at,actor,')
  expect(file).toContain('"user.suspend"')
  expect(await bingo.stop()).toBe(0)
}, 120_000)
