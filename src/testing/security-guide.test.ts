import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { roles } from '@roles'
import { documentOf, unopened } from '@/http-faces'
import { keyTtlMs } from '@/core/idempotency'
import { executable, startBingo, temporaryFolder } from './bingo'
import { blocksOf, root, rowsUnder, sentencesUnder, shell, testTitles } from './guides'

const guide = 'docs/security.md'
/** Lines of the checklist that are about what is there by now. */
const linesWanted = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21],
  ...[24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 39, 40],
]

test('what the guide to security promises is tested', async () => {
  const sentences = await sentencesUnder(guide, 'What is promised')
  expect(sentences.length).toBeGreaterThan(10)
  const titles = await testTitles(guide)
  expect(sentences.filter(sentence => !titles(sentence))).toEqual([])
})

test('each line of the checklist has tests that are there, or says why not', async () => {
  const rows = await rowsUnder(guide, 'The checklist')
  expect(rows.map(([line]) => Number(line))).toEqual(linesWanted)
  const missing: unknown[] = []
  for (const [line, , tests = ''] of rows) {
    if (tests.startsWith('does not apply yet: ')) continue
    for (const each of tests.split('<br>')) {
      const [, path = '', title = ''] = /^`([^`]+)`: (.+)$/.exec(each) ?? []
      const file = Bun.file(join(root, path))
      const isThere = path !== '' && title.length > 8 && (await file.exists()) && (await file.text()).includes(title)
      if (!isThere) missing.push([line, each])
    }
  }
  expect(missing).toEqual([])
})

test('the routes of the guide to security are those that there are, with the rules that they have', async () => {
  const declared: string[][] = []
  for (const face of ['api', 'admin'] as const) {
    const role = roles.find(({ serves }) => serves[0] === face)
    const { paths = {} } = (role && (await documentOf(role, unopened, 'test'))) ?? {}
    for (const [path, item] of Object.entries(paths))
      for (const [method, operation] of Object.entries(item))
        declared.push([`\`${method.toUpperCase()} ${path}\``, (operation['x-access'] ?? []).map(rule => `\`${rule}\``).join(', ')])
  }
  const said = (await rowsUnder(guide, 'Who may do what')).filter(([cell = '']) => / \//.test(cell))
  expect(said).toEqual(declared)
})

test('the commands of the guide to security do what it says', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
  const bingo = await startBingo({ roles: 'api,admin', env })
  const [logIn = '', twice = ''] = (await blocksOf(guide)).filter(({ language }) => language === 'sh').map(({ text }) => text)
  const run = async (text: string) => {
    const here = text
      .replaceAll('localhost:8080', new URL(bingo.urls['api'] ?? '').host)
      .replaceAll('localhost:8081', new URL(bingo.urls['admin'] ?? '').host)
    const { stdout, code } = await shell(`bingo() { ${executable} "$@"; }\n${here}`, folder.path, env)
    expect([here, code]).toEqual([here, 0])
    return stdout
  }
  expect(await run(logIn)).toContain('{"items":[{"id":"')
  const [first = '', second = ''] = (await run(twice)).split(/(?=HTTP\/1\.1 )/)
  expect([first.split('\r\n')[0], second.split('\r\n')[0]]).toEqual(['HTTP/1.1 201 Created', 'HTTP/1.1 201 Created'])
  expect([first, second].map(answer => /^idempotency-replayed: true\r$/im.test(answer))).toEqual([false, true])
  expect(first.split('\r\n\r\n')[1]).toBe(second.split('\r\n\r\n')[1] ?? '')
  expect(keyTtlMs).toBe(24 * 3_600_000)
  expect(await bingo.stop()).toBe(0)
}, 30_000)
