import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Backing, onEachBacking } from '../backings'
import { executable, runBingo, startBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'

const payload = { userId: '01890a5d-ac96-774b-bcce-b302099a8057', purpose: 'welcome' }

onEachBacking('bingo task with many tasks', open => {
  let backing: Backing
  let env: Record<string, string>
  beforeAll(async () => {
    backing = await open()
    env = { ...backing.options.env, BINGO_LOG_LEVEL: 'error' }
    expect((await runBingo(['migrate', 'up'], { env })).code).toBe(0)
  })
  afterAll(() => backing.dispose())
  const task = (...words: string[]) => runBingo(['task', ...words], { env })
  const parsed = (text: string) =>
    text
      .trim()
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Record<string, unknown>)
  const stats = async (queue: string) => parsed((await task('stats', `--queue=${queue}`, '--json')).stdout)[0] as Record<string, unknown>
  async function enqueue(lines: readonly object[]): Promise<void> {
    const child = Bun.spawn([executable, 'task', 'enqueue', 'email.send', '--from=-'], {
      env: { ...process.env, ...env },
      stdin: new Blob([lines.map(line => JSON.stringify(line)).join('\n')]),
      stdout: 'ignore',
      stderr: 'ignore',
    })
    expect(await child.exited).toBe(0)
  }
  const some = (count: number, options: object = {}, prefix = 'many') =>
    Array.from({ length: count }, (_, i) => ({ payload, options: { id: `${prefix}-${i}`, ...options } }))

  test('dead letters are told by what they died of, retried, and deleted, those that fit and no others', async () => {
    await enqueue(some(30, { deadline: '2020-01-01T00:00:00Z' }))
    const scheduler = await startBingo({ ...backing.options, args: [], roles: 'scheduler' })
    await until(async () => (await stats('mail'))['dead'] === 30, 20_000)
    expect(await scheduler.stop()).toBe(0)

    const told = await task('errors')
    expect(told.stdout).toMatch(
      /^ +mail {2}task +the last died +its id +error\n +30 {2}email\.send {2}\S+Z +many-\d+ +deadline: it has passed/,
    )
    expect(parsed((await task('errors', '--queue=mail', '--json')).stdout)).toMatchObject([
      { queue: 'mail', task: 'email.send', count: 30, error: 'deadline: it has passed before the task could start' },
    ])
    expect((await task('errors', '--limit=10')).stderr).toBe(
      'bingo: only the newest 10 dead letters of mail were looked at; --limit=100 looks at more\n',
    )
    expect(await task('errors', '--queue=default')).toEqual({ stdout: '', stderr: 'bingo: there are no dead letters\n', code: 0 })

    const dry = await task('retry', '--task=email.send', '--error=deadline', '--dry-run', '--queue=mail')
    expect([dry.stdout, dry.stderr, dry.code]).toEqual(['mail  30 of 30 would be retried\n', '', 0])
    expect((await task('retry', '--older-than=1h', '--queue=mail')).stdout).toBe('mail  0 of 30 retried\n')
    expect((await task('retry', '--error=timeout', '--queue=mail')).stdout).toBe('mail  0 of 30 retried\n')
    const first = await task('retry', '--error=deadline', '--limit=12', '--json', '--queue=mail')
    expect(parsed(first.stdout).at(-1)).toMatchObject({ queue: 'mail', action: 'retry', matched: 12, done: 12, skipped: 0, isOver: true })
    expect(await stats('mail')).toMatchObject({ waiting: 12, dead: 18 })

    const unasked = await task('delete', '--state=dead')
    expect([unasked.stdout, unasked.code]).toEqual(['', 64])
    expect(unasked.stderr).toContain('--yes')
    expect(await stats('mail')).toMatchObject({ waiting: 12, dead: 18 })
    const deleted = await task('delete', '--state=dead', '--yes', '--queue=mail')
    expect([deleted.stdout, deleted.code]).toEqual(['mail  18 of 18 deleted\n', 0])
    expect(await stats('mail')).toMatchObject({ waiting: 12, dead: 0 })
    expect((await task('cancel', '--all', '--yes', '--queue=mail')).stdout).toBe('mail  12 of 12 cancelled\n')
  }, 60_000)

  test('tasks move to another queue, by their ids or by what they are; what cannot stays, and is said', async () => {
    await enqueue([...some(25, {}, 'go'), ...some(3, { delayMs: 3_600_000 }, 'later')])
    const one = await task('move', 'go-0', 'later-0', '--to=default')
    expect([one.stdout, one.code]).toEqual(['go-0  moved\nlater-0  moved\n', 0])
    // Said again it is the same.
    expect((await task('move', 'go-0', '--to=default')).stdout).toBe('go-0  moved\n')
    const none = await task('move', 'nobody', '--to=default')
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('nobody: There is no such task: ')])
    expect((await task('move', '--state=waiting', '--queue=mail', '--to=default')).stdout).toBe('mail  24 of 24 moved\n')
    expect((await task('move', '--all', '--queue=mail', '--to=default')).stdout).toBe('mail  2 of 2 moved\n')
    expect(await stats('mail')).toMatchObject({ waiting: 0, scheduled: 0, dead: 0 })
    expect(await stats('default')).toMatchObject({ waiting: 25, scheduled: 3 })
    // It has been in that queue within a day, and left it.
    const back = await task('move', 'go-0', '--queue=default', '--to=mail')
    expect([back.stdout, back.code]).toEqual(['', 1])
    expect(back.stderr).toContain(
      'go-0: The task runs, has ended, or is tied to others; or its id, or its unique key, is known in that queue. Look at it to see which.',
    )
    expect(JSON.parse((await task('show', 'go-0', '--json')).stdout)).toMatchObject({ state: 'dead', queue: 'default' })
    expect((await task('delete', '--all', '--queue=default', '--yes')).stdout).toBe('default  28 of 28 deleted\n')
  }, 60_000)

  test('a queue is paused, which its figures say, and resumed', async () => {
    const paused = await task('pause', 'mail')
    expect([paused.stdout, paused.code]).toEqual(['mail  paused; what runs goes on\n', 0])
    expect(await stats('mail')).toMatchObject({ isPaused: true })
    expect((await task('stats')).stdout).toMatch(/^mail .* paused$/m)
    expect(parsed((await task('resume', 'mail', '--json')).stdout)).toEqual([{ queue: 'mail', result: 'resumed' }])
    expect(await stats('mail')).toMatchObject({ isPaused: false })
  })

  test('figures say how full queues are, and how they go', async () => {
    const { stdout } = await task('stats', '--queue=mail')
    const [full, pace] = stdout.trim().split('\n\n')
    expect(full).toMatch(/^queue +waiting +scheduled +held +active +kept +dead +oldest waits/)
    expect(pace).toMatch(/^queue +enqueued +\/s +done +\/s +failed +\/s +crashed +\/s +dead +\/s +cancelled +\/s\nmail +\d+ +[\d.–]+/)
  })
})

describe('bingo task refuses, of many tasks,', () => {
  const refused = async (args: string[], word: string) => {
    using folder = temporaryFolder()
    const { stdout, stderr, code } = await runBingo(['task', ...args], { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
    expect([args.join(' '), stdout, code]).toEqual([args.join(' '), '', 64])
    expect(stderr).toContain(word)
  }
  const cases: [string[], string][] = [
    [['retry'], 'bingo task retry takes ID…, or which tasks, by --all, --state, --task, --older-than or --error'],
    [['retry', 'a', '--all'], 'either by their ids or by --all'],
    [['retry', 'a', '--dry-run'], '--dry-run is of many tasks'],
    [['retry', '--state=waiting'], 'retry is for tasks that are dead, not waiting'],
    [['delete', '--state=active', '--yes'], 'delete is for tasks that are'],
    [['delete', '--all', '--older-than=5'], '--older-than is a time like 90s, 15m, 2h or 7d, not "5"'],
    [['delete', '--older-than=9999d', '--yes'], 'not "9999d"'],
    [['cancel', '--all'], 'bingo task cancel ends tasks for good; say --yes'],
    [['move', 'a'], 'bingo task move needs --to=QUEUE'],
    [['move', '--all', '--to=nowhere'], 'there is no queue "nowhere"'],
    [['move', '--all', '--queue=mail', '--to=mail'], '--to is the queue in which they are'],
    [['retry', '--all', '--to=mail'], 'bingo task retry has no flag --to'],
    [['stats', '--all'], 'bingo task stats has no flag --all'],
    [['pause'], 'bingo task pause takes QUEUE…'],
    [['pause', 'mial'], 'there is no queue "mial"'],
    [['resume', 'mail', '--queue=mail'], 'bingo task resume has no flag --queue'],
    [['errors', '--limit=0'], '--limit is a number from 1'],
    [['retry', '--all', '--dry-rnu'], 'did you mean --dry-run?'],
  ]
  for (const [args, word] of cases) test(args.join(' '), () => refused(args, word))
})
