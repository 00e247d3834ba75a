import { expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Glob } from 'bun'
import { ticksKeptMax } from '@/core/schedule/admin'
import { catchUpMax, graceMs, type ScheduleRules, scheduleDefaults } from '@/core/schedule/schedule'
import { cronFaults, cronOf } from '@/infra/cron'
import { decide } from '@/infra/schedule/ticks'
import { schedules } from '@/modules/housekeeping/schema'
import { eachLine, executable, type LogLine, startBingo, temporaryFolder } from './bingo'
import { newAdministrator } from './clients'
import { blocksOf, checkTypes, copyOfSources, root, rowsUnder, sentencesUnder, shell, testTitles } from './guides'

const guide = 'docs/scheduler.md'
const titled = async (is: (title: string) => boolean) => (await blocksOf(guide)).filter(({ title }) => title !== '' && is(title))

test('following the guide to schedules gives a module whose schedule is fired', async () => {
  using folder = temporaryFolder()
  copyOfSources(folder.path)
  for (const { title, text } of await titled(title => title.includes('/'))) {
    mkdirSync(dirname(join(folder.path, title)), { recursive: true })
    writeFileSync(join(folder.path, title), text)
  }
  const checks = ['bunx biome check src/modules/census roles', 'bun test src/architecture.test.ts src/app.test.ts']
  for (const check of [await checkTypes(folder.path), await shell(checks.join('\n'), folder.path)])
    expect([check.code, check.stdout, check.stderr]).toEqual([0, expect.any(String), expect.any(String)])
  const ports = ['HTTP', 'ADMIN', 'BOT', 'OPS'].map(name => [`BINGO_${name}_PORT`, '0'])
  const env = { ...process.env, ...Object.fromEntries(ports), BINGO_LOG_FORMAT: 'json' }
  const child = Bun.spawn(['bun', 'run', 'start'], { cwd: folder.path, env, stdout: 'pipe', stderr: 'ignore' })
  const counted: LogLine[] = []
  await eachLine(child.stdout, text => {
    const line = JSON.parse(text) as LogLine
    if (line.msg !== 'counted') return
    counted.push(line)
    child.kill('SIGTERM')
  })
  expect(await child.exited).toBe(0)
  expect(counted[0]).toMatchObject({ users: 0, task: 'census.countUsers', tick: expect.stringMatching(/:\d0\.000Z$/) })
}, 60_000)

test('the commands and requests of the guide to schedules do what it says', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
  const bingo = await startBingo({ roles: 'all', env })
  const operator = await newAdministrator(bingo.urls['admin'] ?? '', env)
  const TOKEN = operator.credential
  const blocks = await blocksOf(guide)
  const [commands, requests, refused] = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
  const run = async (text = '') => {
    const here = text.replaceAll('localhost:8081', new URL(bingo.urls['admin'] ?? '').host).replaceAll('curl -s ', 'curl -sf ')
    const { stdout, stderr, code } = await shell(`bingo() { ${executable} "$@"; }\n${here}`, folder.path, { ...env, TOKEN })
    expect([here, stderr, code]).toEqual([here, expect.any(String), 0])
    return stdout
  }

  const said = await run(commands)
  for (const words of ['users.nightly  created', 'users.nightly  changed', 'users.nightly  enqueued  schedule:', 'users.nightly  deleted'])
    expect(said).toContain(words)
  expect(said).toMatch(/^\S+Z +manual +1 +0 ms +schedule:\S+ +\w+$/m)
  const asked = await run(requests)
  for (const words of [
    '{"next":["',
    '"items":[{"id":"',
    '"catchUp":{"all":3}',
    '"isPaused":true',
    '"isPaused":false',
    '{"taskId":"schedule:',
  ])
    expect(asked).toContain(words)
  const shown = JSON.parse(blocks.find(({ language }) => language === 'json')?.text ?? '')
  const answer = JSON.parse(await run((refused ?? '').replaceAll('curl -s ', 'curl -s --no-fail ')))
  expect(answer).toMatchObject(shown)
  const left = (await operator.send<{ items: { name: string }[] }>('GET', `${bingo.urls['admin']}/admin/v1/schedules`)).body
  expect(left.items.map(({ name }) => name)).toEqual(schedules.map(({ name }) => name).toSorted())
  expect(await bingo.stop()).toBe(0)
}, 60_000)

test('the tests that the guide to schedules shows pass', async () => {
  using folder = temporaryFolder()
  copyOfSources(folder.path)
  const tests = await titled(title => title.endsWith('.test.ts'))
  expect(tests.length).toBeGreaterThan(0)
  for (const { title, text } of tests) writeFileSync(join(folder.path, 'src', title), text)
  const { code, stderr } = await shell(`bun test ${tests.map(({ title }) => `src/${title}`).join(' ')}`, folder.path)
  expect([code, stderr]).toEqual([0, expect.stringContaining(`${tests.length} pass`)])
}, 60_000)

test('the expressions that the guide shows can be scheduled', async () => {
  const expressions = (await rowsUnder(guide, 'Expressions')).flatMap(([cell = '']) => coded(cell))
  expect(expressions.length).toBeGreaterThan(8)
  for (const expression of expressions) expect([expression, cronFaults(expression, 'UTC')]).toEqual([expression, []])
})

test('when clocks change, ticks are those of the guide', async () => {
  const rows = await rowsUnder(guide, 'When the clocks change')
  const timeZone = 'Europe/Berlin'
  expect(rows.length).toBeGreaterThan(5)
  for (const [expression = '', ...cells] of rows) {
    for (const [i, day] of ['2027-03-28', '2027-10-31'].entries()) {
      const at = (time: string) => Temporal.ZonedDateTime.from(`${day}T${time}[${timeZone}]`).epochMilliseconds
      const cron = cronOf(coded(expression)[0] ?? '', timeZone)
      const ticks: string[] = []
      for (let tick = cron.after(at('01:00') - 1); tick !== undefined && tick < at('04:00'); tick = cron.after(tick)) {
        const { hour, minute, offset } = Temporal.Instant.fromEpochMilliseconds(tick).toZonedDateTimeISO(timeZone)
        ticks.push(`${[hour, minute].map(part => String(part).padStart(2, '0')).join(':')}${offset}`)
      }
      expect([expression, day, ...ticks]).toEqual([expression, day, ...listed(cells[i])])
    }
  }
})

const windows: Readonly<Record<string, number>> = { 'a day': 86_400_000, 'two hours': 7_200_000, 'five minutes': 300_000 }

test('after a time in which nobody fired, it is caught up with as the guide says', async () => {
  const rows = await rowsUnder(guide, 'After a time in which nobody fired')
  expect(rows).toHaveLength(5)
  const at = (time: string) => Date.parse(`2027-05-03T${time}:00Z`)
  const timeOf = (ms: number) => new Date(ms).toISOString().slice(11, 16)
  for (const [policy = '', window = '', fired, missed] of rows) {
    const [word = '', limit] = (coded(policy)[0] ?? '').split(':')
    const catchUp = (limit === undefined ? word : { all: Number(limit) }) as ScheduleRules['catchUp']
    const rules = { ...scheduleDefaults, cron: '0 * * * *', catchUp, catchUpWindowMs: windows[window] ?? Number.NaN }
    const decision = decide({ scheduleId: Bun.randomUUIDv7(), rules, cursorMs: at('08:30'), nowMs: at('13:10') })
    expect([policy, ...decision.ticks.map(({ tickMs }) => timeOf(tickMs))]).toEqual([policy, ...listed(fired)])
    const { fromMs = 0, toMs = 0, count } = decision.missed ?? {}
    expect([timeOf(fromMs), timeOf(toMs), count]).toEqual([listed(missed)[0] ?? '', listed(missed).at(-1) ?? '', listed(missed).length])
  }
})

test('the sweeps of the house are those of the guide', async () => {
  const rows = await rowsUnder(guide, 'Housekeeping')
  const declared = schedules.map(({ name, cron }) => [name, ...cron.split(' ').slice(0, 2)])
  const said = rows.map(([name = '', at = '']) => {
    const [hour = '', minute = ''] = at.replace(' UTC', '').split(':')
    return [coded(name)[0], String(Number(minute)), hour === '*' ? hour : String(Number(hour))]
  })
  expect(said).toEqual(declared)
})

test('the limits of the guide to schedules are those of the code', async () => {
  const said = Object.fromEntries((await rowsUnder(guide, 'Limits')).map(([what = '', limit = '']) => [what, limit]))
  expect(said).toMatchObject({
    '`catchUp: { all }`': catchUpMax.toLocaleString('en-US'),
    'on time': graceMs === 60_000 ? 'a minute late' : `${graceMs} ms late`,
    history: `the last ${ticksKeptMax} ticks of each schedule`,
  })
})

test('each sentence that the guide to schedules promises is the name of a test', async () => {
  const sentences = await sentencesUnder(guide, 'What is promised')
  expect(sentences.length).toBeGreaterThan(1)
  const titles = await testTitles(guide)
  expect(sentences.filter(sentence => !titles(sentence))).toEqual([])
})

test('the guide to schedules lists every metric of them, and no other', async () => {
  const name = /bingo_schedule_[a-z_]+/g
  const sources = [...new Glob('src/infra/schedule/*.ts').scanSync(root)].filter(path => !path.endsWith('.test.ts'))
  const made = new Set((await Promise.all(sources.map(path => Bun.file(join(root, path)).text()))).flatMap(text => text.match(name) ?? []))
  const seen = await rowsUnder(guide, 'What can be seen')
  expect(made.size).toBeGreaterThan(1)
  expect(seen.flatMap(([cell = '']) => coded(cell)).toSorted()).toEqual([...made].toSorted())
})

/** What stands between backquotes. */
const coded = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(match => match[1] as string)
const listed = (cell = '') => (cell === 'none' ? [] : cell.split(', '))
