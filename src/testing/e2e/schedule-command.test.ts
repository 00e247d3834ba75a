import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { SqlRow } from '@/core/database'
import type { ScheduleView } from '@/core/schedule/admin'
import type { OpenDatabase } from '@/infra/database/driver'
import { type Backing, onEachBacking } from '../backings'
import { executable, runBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'

const payload = { userId: '01890a5d-ac96-774b-bcce-b302099a8057', purpose: 'welcome' }
const definition = ['--cron=30 2 * * *', '--time-zone=Europe/Berlin', '--task=email.send', `--payload=${JSON.stringify(payload)}`]

onEachBacking('bingo schedule', open => {
  let backing: Backing
  let env: Record<string, string>
  let db: OpenDatabase
  beforeAll(async () => {
    backing = await open()
    env = { ...backing.options.env, BINGO_LOG_LEVEL: 'error' }
    expect((await runBingo(['migrate', 'up'], { env })).code).toBe(0)
    db = await openAgain(backing)
  }, 30_000)
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })
  const schedule = (...words: string[]) => runBingo(['schedule', ...words], { env })
  const kept = async (): Promise<SqlRow[][]> =>
    Promise.all(['schedule', 'scheduleTick'].map(table => db.all(`select * from "${table}" order by 1, 2`, [], { from: 'primary' })))
  const shown = async (name: string) => JSON.parse((await schedule('show', name, '--json')).stdout) as ScheduleView

  test('one is made, seen, changed, paused, run, resumed and deleted; the data is on stdout, and what comes next on stderr', async () => {
    const made = await schedule('create', 'nightly', ...definition, '--jitter=30s', '--json')
    const view = JSON.parse(made.stdout) as ScheduleView
    expect(view).toMatchObject({
      name: 'nightly',
      origin: 'database',
      cron: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      payload,
      jitterMs: 30_000,
    })
    expect([made.code, made.stderr.split('\n').length, view.next.length]).toEqual([0, 6, 5])
    for (const tick of view.next)
      expect(made.stderr).toMatch(new RegExp(`${tick}  \\w{3} \\d{4}-\\d\\d-\\d\\d 02:30:00 GMT\\+[12]  Europe/Berlin`))
    const listed = await schedule('list')
    expect(listed.stdout).toMatch(
      /^name +task +cron +time zone +next +missed\nnightly +email\.send +30 2 \* \* \* +Europe\/Berlin +\S+Z +0\n$/,
    )
    for (const which of ['nightly', view.id]) expect(await shown(which)).toEqual(view)
    expect((await schedule('list', '--json')).stdout).toBe(`${JSON.stringify(view)}\n`)
    const block = (await schedule('show', 'nightly')).stdout
    for (const line of [/^cron +30 2 \* \* \*$/m, /^catchUp +latest$/m, /^jitterMs +30000$/m]) expect(block).toMatch(line)

    const before = await kept()
    const looked = await schedule('preview', 'nightly', '--cron=0 0 1 1 *', '--time-zone=UTC', '--count=2', '--json')
    const [first, second] = (JSON.parse(looked.stdout) as { next: string[] }).next
    expect([first?.slice(4), second?.slice(4)]).toEqual(['-01-01T00:00:00.000Z', '-01-01T00:00:00.000Z'])
    expect(await kept()).toEqual(before)

    const changed = await schedule('update', 'nightly', '--catch-up=all:3', '--catch-up-window=2h', '--overlap=bufferOne')
    expect([changed.code, changed.stdout]).toEqual([0, 'nightly  changed\n'])
    const all = { catchUp: { all: 3 }, catchUpWindowMs: 7_200_000, overlap: 'bufferOne' } as const
    expect(await shown('nightly')).toEqual({ ...view, ...all, version: 2, updatedAt: expect.any(String) as never })
    expect((await schedule('pause', 'nightly')).stdout).toBe('nightly  paused\n')
    expect((await schedule('list')).stdout).toMatch(/ – +0 +paused\n$/)
    const run = JSON.parse((await schedule('run', 'nightly', '--json')).stdout) as { taskId: string }
    expect(run).toEqual({ schedule: 'nightly', result: 'enqueued', taskId: expect.stringContaining(`schedule:${view.id}:run:`) } as never)
    const task = JSON.parse((await runBingo(['task', 'show', run.taskId, '--json'], { env })).stdout)
    expect(task).toMatchObject({ task: 'email.send', queue: 'mail', payload, headers: { schedule: 'nightly' } })
    expect((await schedule('ticks', 'nightly')).stdout).toMatch(
      /^tick +what +count +late +task +ended\n\S+Z +manual +1 +0 ms +schedule:\S+ +pending\n$/,
    )
    expect((await schedule('resume', 'nightly', '--json')).stdout).toBe('{"schedule":"nightly","result":"resumed"}\n')
    expect((await schedule('update', 'nightly', '--name=daily', '--yes')).stdout).toBe('daily  changed\n')

    const some = await schedule('delete', 'daily', 'nightly', '--yes')
    expect([some.code, some.stdout]).toEqual([1, 'daily  deleted\n'])
    expect(some.stderr).toBe("bingo: nightly: There is no such schedule. 'bingo schedule list' shows which there are.\n")
    expect(await schedule('list')).toEqual({ stdout: '', stderr: 'bingo: there are none\n', code: 0 })
    expect(await kept()).toEqual([[], []])
  }, 60_000)

  test('whoever is at a terminal is asked, with what comes next; no answer but yes saves anything', async () => {
    const before = await kept()
    const no = await atTerminal(env, ['schedule', 'create', 'asked', ...definition], '\n')
    expect([no.code, no.said]).toEqual([
      1,
      expect.stringMatching(/02:30:00 GMT\+[12] {2}Europe\/Berlin[\s\S]*Make it\? \[y\/N\][\s\S]*nothing was saved/),
    ])
    expect(await kept()).toEqual(before)
    const yes = await atTerminal(env, ['schedule', 'create', 'asked', ...definition], 'y\n')
    expect([yes.code, yes.said]).toEqual([0, expect.stringMatching(/Make it\? \[y\/N\][\s\S]*asked {2}created/)])
    const made = await kept()
    const unchanged = await atTerminal(env, ['schedule', 'update', 'asked', '--cron=@daily'], 'n\n')
    expect([unchanged.code, unchanged.said]).toEqual([1, expect.stringMatching(/Change it so\? \[y\/N\][\s\S]*nothing was saved/)])
    const wrong = await atTerminal(env, ['schedule', 'update', 'asked', '--cron=@dayly'], '')
    expect([wrong.code, wrong.said]).toEqual([1, expect.not.stringContaining('[y/N]')])
    const undeleted = await atTerminal(env, ['schedule', 'delete', 'asked'], 'n\n')
    expect([undeleted.code, undeleted.said]).toEqual([1, expect.stringContaining('nothing was removed')])
    expect(await kept()).toEqual(made)
    expect((await atTerminal(env, ['schedule', 'delete', 'asked', '--yes'], '')).code).toBe(0)
  }, 60_000)

  test('what cannot be is refused with the flag and the reason, and nothing of it is saved', async () => {
    for (const name of ['taken', 'other']) expect((await schedule('create', name, ...definition)).code).toBe(0)
    const before = await kept()
    const cron = (text: string) => [`--cron=${text}`, ...definition.slice(1)]
    const cases: [string[], number, ...string[]][] = [
      [
        ['create', 'taken', ...definition],
        1,
        'taken: Another schedule has this name.',
        "'bingo schedule update' changes it",
        'NAME: is taken',
      ],
      [['create', 'Bad Name', ...definition], 1, 'NAME: must be 1–64 small letters'],
      [['create', 'x', ...cron('61 * * * *')], 1, '--cron: the minute 61 is not from 0 to 59'],
      [['create', 'x', ...cron('0 0 31 2 *')], 1, '--cron: never comes: February has no day 31'],
      [['create', 'x', ...cron('@reboot')], 1, '--cron: @reboot is no time'],
      [['create', 'x', ...cron('* * * *')], 1, '--cron: has 4 fields'],
      [['create', 'x', ...cron(`${'1,'.repeat(120)}1 * * * *`)], 1, '--cron: is 249 characters'],
      [['create', 'x', ...definition.toSpliced(1, 1, '--time-zone=Europe/Berln')], 1, '--time-zone: ', 'did you mean Europe/Berlin?'],
      [
        ['create', 'x', ...definition.toSpliced(2, 1, '--task=email.sent')],
        1,
        '--task: "email.sent" is no task',
        'did you mean email.send?',
      ],
      [['create', 'x', ...definition.slice(0, 3)], 1, '--payload /userId: ', '--payload /purpose: '],
      [['create', 'x', ...definition, '--overlap=never'], 1, '--overlap: must be one of allow, skip, bufferOne, cancelOther'],
      [['create', 'x', ...definition, '--catch-up=all:1001'], 1, '--catch-up: '],
      [['create', 'x', ...definition, '--catch-up-window=0s'], 1, '--catch-up-window: '],
      [['create', 'x', ...definition, '--jitter=2h'], 1, '--jitter: must be an integer from 0 to 3600000'],
      [['create', 'x', ...cron('61 * * * *').toSpliced(1, 2, '--time-zone=x', '--task=y')], 1, '--cron: ', '--time-zone: ', '--task: '],
      [['update', 'taken', '--cron=61 * * * *'], 1, 'taken: The schedule cannot be so.', '--cron: the minute 61'],
      [['update', 'taken', '--payload={}'], 1, '--payload /userId: '],
      [['preview', 'taken', '--cron=* * * 13 *'], 1, '--cron: the month 13 is not from 1 to 12'],
      [['preview', 'taken', '--name=Bad Name'], 1, '--name: must be 1–64 small letters'],
      [['update', 'other', '--name=taken'], 1, 'bingo: taken: Another schedule has this name. Say another.\n  --name: is taken\n'],
      [
        ['preview', 'nobody'],
        1,
        "nobody: There is no such schedule. 'bingo schedule list' shows which there are. Of a new one say --cron and",
      ],
      [['preview', 'nobody', '--cron=@daily'], 1, 'nobody: There is no such schedule.'],
      [['preview', 'nobody', '--cron=', '--task=email.send'], 1, '--cron: is empty'],
      [['create', 'x', ...cron('')], 1, '--cron: is empty'],
      [['update', 'nobody', '--jitter=1s'], 1, 'nobody: There is no such schedule.', "'bingo schedule list' shows"],
      [['show', 'nobody'], 1, 'There is no such schedule.'],
      [['ticks', 'nobody'], 1, 'There is no such schedule.'],
      [['run', 'nobody'], 1, 'There is no such schedule.'],
      [['pause', 'nobody'], 1, 'There is no such schedule.'],
    ]
    for (const [words, code, ...said] of cases) {
      const { stdout, stderr, code: exited } = await schedule(...words)
      expect([words.join(' '), exited, stdout]).toEqual([words.join(' '), code, ''])
      for (const word of said) expect([words.join(' '), stderr]).toEqual([words.join(' '), expect.stringContaining(word)])
    }
    expect(await kept()).toEqual(before)
    // Nobody is shown, or asked about, what cannot be.
    expect((await schedule('create', 'taken', ...definition)).stderr).not.toContain('next')
    expect((await schedule('delete', 'taken', 'other', '--yes')).code).toBe(0)
  }, 120_000)
})

describe('bingo schedule refuses what it does not know before it opens anything, and says what it does', () => {
  test('words and flags', async () => {
    using folder = temporaryFolder()
    const cases: [string[], ...string[]][] = [
      [[], 'bingo schedule takes list, show, create, update, delete, run, pause, resume, ticks or preview'],
      [['make', 'x'], 'bingo schedule takes list'],
      [['list', 'x'], 'bingo schedule list takes no more words'],
      [['show'], 'bingo schedule show takes NAME'],
      [['show', ''], 'the name of a schedule is not empty'],
      [['delete'], 'bingo schedule delete takes NAME…'],
      [['delete', 'x'], 'removes for good; say --yes'],
      [['show', 'x', '--cron=1'], 'bingo schedule show has no flag --cron'],
      [['create', 'x', '--crom=1'], 'there is no flag --crom; did you mean --cron?'],
      [['create', 'x', '--cron=* * * * *'], 'bingo schedule create needs --cron=EXPRESSION and --task=NAME'],
      [['update', 'x', '--yes'], 'bingo schedule update needs what is to change: --cron, --time-zone'],
      [['create', 'x', ...definition.slice(0, 3), '--payload={'], '--payload is JSON'],
      [['create', 'x', ...definition, '--catch-up=some'], '--catch-up is none, latest or all:COUNT'],
      [['create', 'x', ...definition, '--catch-up=all:x'], '--catch-up is none, latest or all:COUNT'],
      [['create', 'x', ...definition, '--jitter=30'], '--jitter is a time like 90s'],
      [['create', 'x', ...definition, '--catch-up-window=400d'], '--catch-up-window is a time like'],
      [['list', '--limit=0'], '--limit is a number from 1'],
      [['preview', 'x', '--count=1001'], '--count is a number from 1 to 1000'],
    ]
    for (const [words, ...said] of cases) {
      const { stdout, stderr, code } = await runBingo(['schedule', ...words], { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
      expect([words.join(' '), stdout, code]).toEqual([words.join(' '), '', 64])
      for (const word of said) expect(stderr).toContain(word)
    }
  }, 60_000)

  test('a database that is not there yet, and help', async () => {
    using folder = temporaryFolder()
    const { stderr, code } = await runBingo(['schedule', 'list'], { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
    expect([code, stderr]).toEqual([1, expect.stringContaining("'bingo migrate up'")])
    const help = await runBingo(['schedule', '--help'])
    for (const word of ['bingo schedule create users.nightly --cron', '--catch-up RULE', '--json']) expect(help.stdout).toContain(word)
    expect((await runBingo(['--help'])).stdout).toContain('bingo schedule list|show|create|update|delete|run|pause|resume|ticks|preview')
  })
})

/** Runs a command at a terminal where somebody types once he is asked. */
async function atTerminal(env: Record<string, string>, args: readonly string[], typed: string) {
  let said = ''
  const decoder = new TextDecoder()
  const hear = (_: Bun.Terminal, bytes: Uint8Array) => {
    said += decoder.decode(bytes, { stream: true })
  }
  const child = Bun.spawn([executable, ...args], {
    env: { ...process.env, ...env },
    terminal: { cols: 200, rows: 50, data: hear },
  })
  if (typed !== '') {
    await until(() => said.includes('[y/N]') || child.exitCode !== null, 20_000)
    child.terminal?.write(typed)
  }
  const code = await child.exited
  await until(() => /\n$/.test(said), 5000)
  child.terminal?.close()
  return { code, said }
}
