import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { executable, runBingo, startBingo, temporaryFolder } from '../bingo'
import { type Backing, onEachBacking, openBacking, testOn } from '../backings'
import { until } from '../conformance/cache-fixture'
import { freePort } from '../servers'

const userId = '01890a5d-ac96-774b-bcce-b302099a8057'
const payload = { userId, purpose: 'welcome' }
const asText = JSON.stringify(payload)

onEachBacking('bingo task', open => {
  let backing: Backing
  let env: Record<string, string>
  const folder = temporaryFolder()
  beforeAll(async () => {
    backing = await open()
    env = { ...backing.options.env, BINGO_LOG_LEVEL: 'error' }
    expect((await runBingo(['migrate', 'up'], { env })).code).toBe(0)
  })
  afterAll(async () => {
    await backing.dispose()
    folder[Symbol.dispose]()
  })
  const task = (...words: string[]) => runBingo(['task', ...words], { env })
  const lines = (text: string) =>
    text
      .trim()
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Record<string, unknown>)
  const stats = async () => {
    const { stdout } = await task('stats', '--queue=mail', '--json')
    return lines(stdout)[0] as unknown as Record<'waiting' | 'scheduled' | 'active' | 'dead', number>
  }
  const file = (name: string, content: string) => {
    writeFileSync(`${folder.path}/${name}`, content)
    return `${folder.path}/${name}`
  }
  async function fromStdin(input: string, ...words: string[]) {
    const child = Bun.spawn([executable, 'task', 'enqueue', 'email.send', '--from=-', ...words], {
      env: { ...process.env, ...env },
      stdin: new Blob([input]),
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
    return { stdout, stderr, code }
  }

  test('a task is enqueued, seen, and cancelled; the data is on stdout and nothing else', async () => {
    const made = await task('enqueue', 'email.send', `--payload=${asText}`, '--id=order:17', '--json')
    expect([made.stdout, made.stderr, made.code]).toEqual(['{"id":"order:17","status":"enqueued"}\n', '', 0])
    const again = await task('enqueue', 'email.send', '--payload', asText, '--id', 'order:17')
    expect([again.stdout, again.code]).toEqual(['order:17  duplicate\n', 0])
    const delayed = await task('enqueue', 'email.send', `--payload=${asText}`, '--delay-ms=60000', '--id=later')
    expect(delayed.stdout).toBe('later  enqueued\n')

    const listed = lines((await task('list', '--json')).stdout)
    expect(listed).toMatchObject([
      { id: 'order:17', queue: 'mail', state: 'waiting', task: 'email.send', payload, priority: 5, attempt: 0, errors: [] },
      { id: 'later', queue: 'mail', state: 'scheduled', runAt: expect.stringMatching(/Z$/) },
    ])
    expect((await task('list', '--state=scheduled')).stdout).toMatch(
      /^id +queue +state +task +runs +time +payload, and the last error *\nlater +mail +scheduled +email\.send +0 +not before \S+Z +\{.*\} *\n$/,
    )
    expect(await task('list', '--queue=default')).toEqual({ stdout: '', stderr: 'bingo: there are none\n', code: 0 })
    const shown = await task('show', 'order:17')
    expect(shown.stdout).toMatch(/^task +email\.send$/m)
    expect(JSON.parse((await task('show', 'order:17', '--json', '--queue=mail')).stdout)).toMatchObject({ id: 'order:17', payload })
    expect(await stats()).toMatchObject({ waiting: 1, scheduled: 1, active: 0, dead: 0 })
    expect((await task('stats')).stdout).toMatch(/^mail +1 +1 +0 +0 /m)

    const cancelled = await task('cancel', 'order:17', 'later', '--json')
    expect(cancelled.stdout).toBe('{"id":"order:17","result":"cancelled"}\n{"id":"later","result":"cancelled"}\n')
    expect(await stats()).toMatchObject({ waiting: 0, scheduled: 0 })
    const sound = await task('fsck')
    expect([sound.stdout, sound.stderr, sound.code]).toEqual(['', 'bingo: all is well\n', 0])
  })

  test('one task for each line of a file or of standard input, in their order', async () => {
    const some = Array.from({ length: 2500 }, (_, i) =>
      i % 2 ? asText : JSON.stringify({ payload, options: { id: `bulk-${i}`, priority: 0 } }),
    )
    const made = await task('enqueue', 'email.send', `--from=${file('some.ndjson', `${some.join('\n')}\n\n`)}`, '--json')
    expect([made.code, made.stderr]).toEqual([0, 'bingo: 2500 enqueued, 0 were there already, 0 not unique\n'])
    const replies = lines(made.stdout)
    expect(replies.map(({ id }, i) => (i % 2 ? 'own' : id))).toEqual(some.map((_, i) => (i % 2 ? 'own' : `bulk-${i}`)))
    const again = await fromStdin(some.slice(0, 3).join('\n'))
    expect([again.code, again.stderr]).toEqual([0, 'bingo: 1 enqueued, 2 were there already, 0 not unique\n'])

    const listed = lines((await task('list', '--limit=1400', '--state=waiting', '--json')).stdout)
    expect(listed).toHaveLength(1400)
    expect(listed.slice(0, 1250).map(({ id }) => id)).toEqual(Array.from({ length: 1250 }, (_, i) => `bulk-${2 * i}`))
    const short = await task('list', '--state=waiting')
    expect([short.stdout.trim().split('\n').length, short.stderr]).toEqual([
      51,
      'bingo: there are more waiting tasks in mail; --limit=500 shows more\n',
    ])

    const ids = [...replies, ...lines((await task('list', '--limit=5000', '--json')).stdout)].map(({ id }) => String(id))
    const unique = [...new Set(ids)]
    for (let i = 0; i < unique.length; i += 500) expect((await task('delete', '--yes', ...unique.slice(i, i + 500))).code).toBe(0)
    expect(await stats()).toMatchObject({ waiting: 0 })
    // Each of the 2,500 that are deleted by their ids is written down in a transaction of its own.
  }, 120_000)

  test('a line at fault is named, with what is enqueued already and how to go on', async () => {
    const good = new Array<string>(1000).fill(asText)
    const cases: [string[], number, string][] = [
      [[asText, '{"userId":1}'], 2, '/userId: Expected string'],
      [[asText, '', '{"payload":{},"options":{"delay":1}}'], 3, 'delay: is no option; did you mean delayMs?'],
      [
        [JSON.stringify({ payload, delayMs: 5 })],
        1,
        'options go into "options": {"payload": …, "options": {"delayMs": …, "id": …}}; delayMs stands beside it',
      ],
      [
        [JSON.stringify({ id: 'a', queue: 'mail', state: 'dead', task: 'order.ship', payload })],
        1,
        'is of the task order.ship, not email.send',
      ],
      [['{"userId":"x","purpose":"spam"}'], 1, '/purpose: Expected one of welcome'],
      [[asText, '{'], 2, 'is no JSON'],
      [['[1,2'], 1, 'is no JSON'],
      [[`"${'x'.repeat(600_000)}"`], 1, 'is longer than 524288 bytes'],
    ]
    for (const [some, line, why] of cases) {
      const path = file('bad.ndjson', some.join('\n'))
      const failed = await task('enqueue', 'email.send', '--from', path)
      expect(failed.stderr).toStartWith(`bingo: ${path}:${line}: `)
      expect(failed.stderr).toContain(why)
      expect([failed.stdout, failed.code]).toEqual(['', 1])
    }
    expect(await stats()).toMatchObject({ waiting: 0 })
    const late = await fromStdin([...good, 'null'].join('\n'))
    expect(late.stderr).toContain('standard input:1001: The payload does not fit')
    expect(late.stderr).toContain("the lines before 1001 are enqueued: go on with 'tail -n +1001 FILE | bingo task enqueue … --from=-'")
    expect(await stats()).toMatchObject({ waiting: 1000 })
    const all = lines((await task('list', '--limit=1000', '--json')).stdout).map(({ id }) => String(id))
    await task('delete', '--yes', ...all)
  }, 30_000)

  test('what list writes is read again: the same tasks, once, in the queue and at the time that they had', async () => {
    const headers = { tenant: 'x' }
    const some = [
      { payload, options: { id: 'kept-1', priority: 2, headers } },
      { payload, options: { id: 'kept-2', queue: 'default', at: new Date(Date.now() + 3_600_000).toISOString() } },
    ]
    await fromStdin(some.map(line => JSON.stringify(line)).join('\n'))
    const exported = await task('list', '--json')
    const again = await fromStdin(exported.stdout)
    expect([again.code, again.stderr]).toEqual([0, 'bingo: 0 enqueued, 2 were there already, 0 not unique\n'])
    const elsewhere = exported.stdout.replaceAll('"kept-', '"moved-')
    expect((await fromStdin(elsewhere)).stderr).toStartWith('bingo: 2 enqueued')
    const [first, second] = await Promise.all(['moved-1', 'moved-2'].map(async id => lines((await task('show', id, '--json')).stdout)[0]))
    expect(first).toMatchObject({ queue: 'mail', priority: 2, payload, headers, state: 'waiting' })
    expect(second).toMatchObject({ queue: 'default', state: 'scheduled' })
    const dueMs = Date.parse(String(second?.['runAt'])) - Date.now()
    expect(dueMs).toBeGreaterThan(3_000_000)
    expect((await task('cancel', 'kept-1', 'kept-2', 'moved-1', 'moved-2')).code).toBe(0)
    // An id stays taken for a day after its task was cancelled.
    expect((await fromStdin(exported.stdout)).stderr).toStartWith('bingo: 0 enqueued, 2 were there already')
  })

  test('a dead letter waits again, or is removed; what cannot be done is said with what can', async () => {
    const late = JSON.stringify({ payload, options: { id: 'late', deadline: '2020-01-01T00:00:00Z' } })
    await fromStdin(late)
    const scheduler = await startBingo({ ...backing.options, args: [], roles: 'scheduler' })
    await until(async () => (await stats()).dead === 1, 15_000)
    expect(await scheduler.stop()).toBe(0)

    const shown = JSON.parse((await task('show', 'late', '--json')).stdout)
    expect((await task('list', '--state=dead')).stdout).toMatch(/^late +mail +dead +email\.send +1 +died \S+Z +\{.*\} +deadline: /m)
    expect(shown).toMatchObject({ state: 'dead', deadAt: expect.stringMatching(/Z$/), errors: [{ message: expect.any(String) }] })
    const retried = await task('retry', 'late')
    expect([retried.stdout, retried.code]).toEqual(['late  retried\n', 0])
    const mixed = await task('retry', 'late', 'nobody')
    expect([mixed.stdout, mixed.code]).toEqual(['', 1])
    expect(mixed.stderr).toContain(
      "bingo: late: The task is no dead letter: it is on its way by itself, or done. 'bingo task show' says where.",
    )
    expect(mixed.stderr).toContain(
      "bingo: nobody: There is no such task: it is done and not kept, or was never there. 'bingo task list' shows what is.",
    )
    const unasked = await task('delete', 'late')
    expect([unasked.code, unasked.stderr]).toEqual([64, expect.stringContaining('--yes')])
    expect(await stats()).toMatchObject({ waiting: 1 })
    expect((await task('delete', 'late', '--yes')).stdout).toBe('late  deleted\n')
    expect(await stats()).toMatchObject({ waiting: 0, dead: 0 })
    expect(await task('show', 'late')).toMatchObject({
      code: 1,
      stderr: "bingo: late: There is no such task: it is done and not kept, or was never there. 'bingo task list' shows what is.\n",
    })
  }, 30_000)
})

describe('bingo task refuses what it does not know, and says what it does', () => {
  const refused = async (args: string[], ...words: string[]) => {
    using folder = temporaryFolder()
    const { stdout, stderr, code } = await runBingo(['task', ...args], { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
    expect([args.join(' '), stdout, code]).toEqual([args.join(' '), '', 64])
    for (const word of words) expect(stderr).toContain(word)
  }
  test('words, flags and values: 64', async () => {
    await refused([], 'enqueue, list, show, retry, cancel, delete, move, errors, stats, pause, resume or fsck')
    await refused(['lsit'], 'enqueue, list, show')
    await refused(['list', '--quue=mail'], 'there is no flag --quue; did you mean --queue?')
    await refused(['list', '--nothing=1'], 'flags of task are --queue, --all, --state')
    await refused(['list', '--queue'], '--queue needs a value')
    await refused(['list', '--queue=a', '--queue=b'], '--queue is given twice')
    await refused(['fsck', '--fix=yes'], '--fix takes no value')
    await refused(['list', '--fix'], 'bingo task list has no flag --fix; it has --queue, --state, --limit')
    await refused(['list', 'more'], 'takes no more words')
    await refused(['show'], 'bingo task show takes ID')
    await refused(['cancel', ''], 'an id of a task is not empty')
    await refused(['list', '--limit=0'], '--limit is a number from 1 to 1000000000, not "0"')
    await refused(['enqueue', 'email.send', '--payload={}', '--delay-ms=31536000001'], '--delay-ms is a number from 0 to 31536000000')
    await refused(['list', '--limit=many'], 'not "many"')
  })
  test('what depends on the queue', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` }
    const failed = (...args: string[]) => runBingo(['task', ...args], { env })
    expect(await failed('stats')).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no database yet; ') })
    await runBingo(['migrate', 'up'], { env })
    const cases: [string[], number, string][] = [
      [['list', '--queue=mial'], 64, 'there is no queue "mial"; queues are default, mail'],
      [['list', '--state=deed'], 64, 'states are waiting, scheduled, held, active, done, dead'],
      [['enqueue', 'email.sned', '--payload={}'], 64, 'there is no task "email.sned"; tasks are email.send'],
      [['enqueue', 'email.send'], 64, 'either --payload=JSON or --from=FILE'],
      [['enqueue', 'email.send', '--payload={}', '--from=-'], 64, 'either --payload=JSON or --from=FILE'],
      [['enqueue', 'email.send', '--from=/nowhere'], 64, 'there is no file "/nowhere"'],
      [['enqueue', 'email.send', '--payload=x'], 64, '--payload: is no JSON'],
      [['enqueue', 'email.send', '--payload={}'], 64, '/userId: Expected required property'],
      [['enqueue', 'email.send', `--payload=${asText}`, '--queue=mial'], 64, 'there is no queue "mial"'],
      [['enqueue', 'email.send', `--payload=${asText}`, '--id=a b'], 64, 'id: must be 1–128 printable ASCII'],
      [['show', 'nobody'], 1, "nobody: There is no such task: it is done and not kept, or was never there. 'bingo task list'"],
    ]
    for (const [args, code, why] of cases) {
      const { stdout, stderr, code: got } = await failed(...args)
      expect([args.join(' '), stdout, got]).toEqual([args.join(' '), '', code])
      expect(stderr).toContain(why)
    }
    await runBingo(['migrate', 'down'], { env })
    expect(await failed('stats')).toMatchObject({ code: 1, stderr: expect.stringContaining("run 'bingo migrate up'") })
  })
  testOn(['mariadb', 'redis'], 'a Redis that is not there: 1, soon, with the variable that names it', async () => {
    const backing = (await openBacking('mariadb')) as Backing
    const env = { ...backing.options.env, BINGO_REDIS_URL: `redis://:hunter2@127.0.0.1:${freePort()}` }
    await runBingo(['migrate', 'up'], { env })
    const startedMs = performance.now()
    for (const args of [['stats'], ['enqueue', 'email.send', `--payload=${asText}`]]) {
      const { stdout, stderr, code } = await runBingo(['task', ...args], { env })
      expect([stdout, code]).toEqual(['', 1])
      expect(stderr).toContain('the queue cannot be reached, or takes no writes; see whether Redis is running')
      expect(stderr).toContain('BINGO_REDIS_URL')
      expect(stderr).not.toContain('hunter2')
    }
    expect(performance.now() - startedMs).toBeLessThan(20_000)
    await backing.dispose()
  })
  test('--help says what it takes, with examples', async () => {
    const { stdout, code } = await runBingo(['task', '--help'])
    expect(code).toBe(0)
    for (const word of ['Examples', 'bingo task enqueue email.send', '--delay-ms COUNT', '--fix', '--json']) expect(stdout).toContain(word)
    expect((await runBingo(['--help'])).stdout).toContain(
      'bingo task enqueue|list|show|retry|cancel|delete|move|errors|stats|pause|resume|fsck',
    )
  })
})
