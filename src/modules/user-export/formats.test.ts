import { expect, test } from 'bun:test'
import { formats } from './formats'
import type { ExportedUser } from './schema'

const ada: ExportedUser = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  username: 'ada',
  email: 'ada@example.com',
  nickname: 'Ada',
  status: 'active',
  createdAt: '2026-01-31T09:05:00.000Z',
  updatedAt: '2026-01-31T09:05:00.000Z',
  version: 1,
}
const { csv, ndjson } = formats

/** A reader of RFC 4180 that knows nothing of the writer: fields, with the quotes that they had. */
function parse(text: string): string[][] {
  const record = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy
  const rows: string[][] = [[]]
  for (let match = record.exec(text); match; match = record.exec(text)) {
    rows.at(-1)?.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    if (match[3] === '\r\n') rows.push([])
  }
  expect(rows.pop()).toEqual([])
  expect(rows.flat().length).toBeGreaterThan(0)
  return rows
}

const nicknameOf = (nickname: string) => parse(csv.line({ ...ada, nickname }))[0]?.[3]

test('a file of comma-separated values begins with the names of its columns, and has no secret among them', () => {
  expect(csv.head).toBe('id,username,email,nickname,status,createdAt,updatedAt,version\r\n')
  expect(parse(csv.head + csv.line(ada))).toEqual([
    ['id', 'username', 'email', 'nickname', 'status', 'createdAt', 'updatedAt', 'version'],
    [...Object.values(ada).slice(0, 7).map(String), '1'],
  ])
  expect(csv.line({ ...ada, passwordHash: 'secret' } as ExportedUser)).not.toContain('secret')
})

test('what is in a text comes back as it was: quotes, commas, line breaks, every script', () => {
  for (const text of [
    'a "quoted" word',
    '"',
    '""',
    ',',
    'a,b',
    'a\r\nb',
    'a\nb',
    ' blanks ',
    'Žofie Ångström',
    '李雷',
    '👩‍🚀',
    "'",
    'a=1',
    '',
  ])
    expect(nicknameOf(text)).toBe(text)
})

test('what is absent is empty and has no quotes, and an empty text has', () => {
  const { nickname: _, ...without } = ada
  expect(csv.line(without)).toContain('"ada@example.com",,"active"')
  expect(csv.line({ ...ada, nickname: '' })).toContain('"ada@example.com","","active"')
})

test('a text that a spreadsheet would compute is kept from it by an apostrophe, and nothing else is changed', () => {
  const formulas = [
    '=1+1',
    '+1',
    '-1',
    '@SUM(A1)',
    '\t=1',
    '\r=1',
    '\n=1',
    '\0=1',
    ' =1',
    '\u00a0=1',
    '\uff1d1',
    '\uff0b1',
    '\uff0d1',
    '\uff201',
  ]
  for (const text of [...formulas, '=cmd|"/c calc"!A1', '\tx', '\rx', '\nx']) expect(nicknameOf(text)).toBe(`'${text}`)
  const [row] = parse(csv.line({ ...ada, username: '-ada', email: '=1+1@example.com' }))
  expect(row?.slice(1, 3)).toEqual(["'-ada", "'=1+1@example.com"])
})

test('a line of JSON is what the API shows of a user, exactly', () => {
  const odd = { ...ada, nickname: '=1+1 "a"\u2028\n' }
  const line = ndjson.line(odd)
  expect(JSON.parse(line)).toEqual(odd)
  expect([line.endsWith('\n'), line.split('\n').length]).toEqual([true, 2])
  expect(ndjson.head).toBe('')
})
