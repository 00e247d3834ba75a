import { Database as SqliteFile } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { migrations } from '@/migrations'
import { runBingo, startBingo, temporaryFolder } from '../bingo'
import { type Backing, openBacking, testOn } from '../backings'
import { freePort } from '../servers'

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7 + 1)).toString('base64')

/** Where nobody listens. */
const beside = { BINGO_REDIS_URL: 'redis://127.0.0.1:1', BINGO_MAIL_URL: 'smtp://127.0.0.1:1' }
const ids = migrations.map(({ id }) => id)
const newest = ids.at(-1)
/** What `bingo migrate` says when all of them are so. */
const allOf = (state: string) => ids.map(id => `${id}  ${state}\n`).join('')

/** What every failure to start has in common: nothing on stdout but log lines, the remedy on stderr, no stack. */
function expectRemedy({ stderr, code }: { stderr: string; code: number }, exitCode: number, ...words: string[]) {
  expect(stderr).toStartWith('bingo: ')
  expect(stderr).not.toMatch(/^\s+at /m)
  for (const word of words) expect(stderr).toContain(word)
  expect(code).toBe(exitCode)
}

describe('what cannot start says why, how to mend it, and exits with the right code', () => {
  test('no arguments: help, and 64', async () => {
    const { stdout, stderr, code } = await runBingo([])
    expect([stdout, code]).toEqual(['', 64])
    expect(stderr).toContain('Examples')
  })
  test('usage: 64', async () => {
    expectRemedy(await runBingo(['--role=apy']), 64, 'there is no role "apy"', 'api, admin, scheduler, bot and all')
    expectRemedy(await runBingo(['--role=api', '--rolle=api']), 64, 'there is no flag --rolle', 'did you mean --role?')
    expectRemedy(await runBingo(['--role']), 64, '--role needs a value')
    expectRemedy(await runBingo(['--role=api', '--role=bot']), 64, '--role is given twice')
    expectRemedy(await runBingo(['serve']), 64, 'there is no command "serve"', 'migrate')
    expectRemedy(await runBingo(['migrate', 'sideways']), 64, 'status, up or down')
    expectRemedy(await runBingo(['config']), 64, 'show, check or example')
    expectRemedy(await runBingo(['--help=yes']), 64, '--help takes no value')
    expectRemedy(await runBingo(['openapi', '--role=scheduler']), 64, 'has no OpenAPI document')
  })
  test('configuration: 78, every problem at once with its source', async () => {
    using folder = temporaryFolder()
    const file = `${folder.path}/bingo.toml`
    writeFileSync(file, '[http]\nport = "many"\nhots = "x"\n[nothing]\nx = 1\n')
    const env = { BINGO_LOG_LEVEL: 'loud', BINGO_ADMIN_PORT: '70000', BINGO_DATABASE_URL: 'postgres://secret@host/db' }
    const failed = await runBingo(['--role=api', `--config=${file}`, '--shutdown.drainMs=soon'], { env })
    expectRemedy(
      failed,
      78,
      '7 problems',
      `http.port: must be an integer from 0 to 65535, not "many" (file ${file})`,
      'http.hots: there is no such setting; did you mean http.host?',
      'nothing.x: there is no such setting',
      'log.level: must be one of debug, info, warn, error, silent, not "loud" (env BINGO_LOG_LEVEL)',
      'admin.port: must be an integer from 0 to 65535, not 70000 (env BINGO_ADMIN_PORT)',
      'shutdown.drainMs: must be an integer from 0 to 120000, not "soon" (flag --shutdown.drainMs)',
      'database.url: must be text: sqlite:PATH, or mysql://user:password@host:3306/database, with',
    )
    expect(failed.stderr).not.toContain('secret')
  })
  test('a database URL that cannot be read, or names no database: 78, and the password is not shown', async () => {
    for (const url of [
      'mysql://u:hun/ter2@h:3306/d',
      'mysql://u:hunter2@h:port/d',
      'mysql://u:hunter2@h',
      'mysql://u:hunter2@h/',
      'sqlite:',
      'hunter2',
    ]) {
      const failed = await runBingo(['--role=api'], { env: { BINGO_DATABASE_URL: url, BINGO_AUTH_KEY: key } })
      expectRemedy(failed, 78, 'database.url', 'percent-encoded')
      expect(failed.stderr).not.toContain('ter2')
    }
  })
  test('replicas beside SQLite, or that are no MySQL servers: 78, and a flag only without passwords', async () => {
    const one = { BINGO_DATABASE_REPLICA_URLS: 'mysql://u:hunter2@h:3306/d' }
    expectRemedy(await runBingo(['--role=api'], { env: one }), 78, 'database.replicaUrls', 'database.url is SQLite', 'BINGO_DATABASE_URL')
    const url = { BINGO_DATABASE_URL: 'mysql://root@127.0.0.1:1/x', BINGO_AUTH_KEY: key }
    for (const replicas of ['sqlite:x.db', 'mysql://u:hunter2@h:3306/d,', 'x']) {
      const failed = await runBingo(['config', 'check'], { env: { ...url, BINGO_DATABASE_REPLICA_URLS: replicas } })
      expectRemedy(failed, 78, 'database.replicaUrls: must be', 'with commas between them')
      expect(failed.stderr).not.toContain('hunter2')
    }
    const flag = (value: string) => runBingo(['config', 'check', `--database.replicaUrls=${value}`], { env: url })
    expectRemedy(await flag('mysql://u@h/d,mysql://u:hunter2@i/d'), 78, 'database.replicaUrls: is a secret')
    expect((await flag('mysql://u@127.0.0.1/d,mysql://u@localhost/d')).code).toBe(0)
  })
  test('a Redis URL that cannot be read: 78, and the password is not shown', async () => {
    for (const url of [
      'redis://u:hun/ter2@h:6379',
      'redis://u:hunter2@h:port',
      'http://u:hunter2@h',
      'redis://u:hunter2@h/name',
      'redis://',
    ]) {
      const failed = await runBingo(['config', 'check'], { env: { BINGO_REDIS_URL: url, BINGO_DATABASE_URL: 'mysql://u@localhost/d' } })
      expectRemedy(failed, 78, 'redis.url', 'percent-encoded')
      expect(failed.stderr + failed.stdout).not.toContain('hun')
    }
    const shown = await runBingo(['config', 'show'], {
      env: { BINGO_REDIS_URL: 'rediss://u:hunter2@h:6379/1', BINGO_DATABASE_URL: 'mysql://u@localhost/d' },
    })
    expect(shown.stdout).toContain('rediss://u:••••@h:6379/1')
    expect(shown.stdout).not.toContain('hunter2')
  })
  test('Redis beside SQLite: 78, with the variables to change', async () => {
    const env = { BINGO_REDIS_URL: 'redis://:hunter2@127.0.0.1:1' }
    for (const args of [['--role=api'], ['migrate', 'status'], ['config', 'check']]) {
      const failed = await runBingo(args, { env })
      expectRemedy(failed, 78, 'unset BINGO_REDIS_URL', 'set BINGO_DATABASE_URL')
      expect(failed.stderr + failed.stdout).not.toContain('hunter2')
    }
  })
  test('a configuration file that is missing or malformed: 78', async () => {
    using folder = temporaryFolder()
    expectRemedy(
      await runBingo(['--role=api', '--config', '/nowhere/bingo.toml']),
      78,
      'cannot read the configuration file /nowhere/bingo.toml',
      'bingo config example',
    )
    writeFileSync(`${folder.path}/bad.toml`, '[http\nport = ')
    expectRemedy(await runBingo(['--role=api', '--config', `${folder.path}/bad.toml`]), 78, 'cannot read the configuration file')
  })
  test('a secret as a flag: 78, since arguments are visible to every process', async () => {
    const failed = await runBingo(['--role=api', '--database.url=mysql://u:hunter2@h/d', `--auth.key=${key}`])
    expectRemedy(failed, 78, 'database.url: is a secret', 'BINGO_DATABASE_URL_FILE', 'auth.key: is a secret')
    expect(failed.stderr).not.toContain('hunter2')
  })
  test('MySQL without a key, or with a weak one: 78, with the command that makes one', async () => {
    const url = { ...beside, BINGO_DATABASE_URL: 'mysql://root@127.0.0.1:1/x' }
    expectRemedy(await runBingo(['--role=api'], { env: url }), 78, 'auth.key is not set', 'openssl rand -base64 32')
    expectRemedy(await runBingo(['--role=api'], { env: { ...url, BINGO_AUTH_KEY: 'changeme' } }), 78, 'needs 32', 'openssl rand')
    expectRemedy(await runBingo(['--role=api'], { env: { ...url, BINGO_AUTH_KEY: 'a'.repeat(64) } }), 78, 'not random', 'openssl rand')
  })
  test('MySQL without Redis or a mail server, where one is needed: 78, with the variables that name them', async () => {
    const env = { BINGO_DATABASE_URL: 'mysql://root@127.0.0.1:1/x', BINGO_AUTH_KEY: key }
    for (const role of ['api', 'scheduler']) {
      const failed = await runBingo([`--role=${role}`], { env })
      expectRemedy(failed, 78, 'redis.url is not set', 'BINGO_REDIS_URL', 'mail.url is not set', 'BINGO_MAIL_URL')
      expectRemedy(await runBingo([`--role=${role}`], { env: { ...env, BINGO_REDIS_URL: beside.BINGO_REDIS_URL } }), 78, 'BINGO_MAIL_URL')
      expectRemedy(await runBingo([`--role=${role}`], { env: { ...env, BINGO_MAIL_URL: beside.BINGO_MAIL_URL } }), 78, 'BINGO_REDIS_URL')
    }
    expectRemedy(await runBingo(['task', 'stats'], { env }), 78, 'BINGO_REDIS_URL')
  })
  test('a queue in the settings that nobody works: 78, with those that there are', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db`, BINGO_QUEUE_CONCURRENCY: 'mial:4' }
    expectRemedy(await runBingo(['--role=scheduler', '--ops.port=0'], { env }), 78, 'no role works a queue "mial"', 'default, mail')
  })
  test('a port in use: 1', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` }
    using taken = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    for (const setting of ['http.port', 'rpc.port', 'ops.port']) {
      const ports = ['--http.port=0', '--rpc.port=0', '--ops.port=0'].filter(flag => !flag.includes(setting))
      expectRemedy(
        await runBingo(['--role=api', ...ports, `--${setting}=${taken.port}`], { env }),
        1,
        `port ${taken.port} on 127.0.0.1 is in use`,
        `--${setting}`,
      )
    }
    const first = await startBingo({ env })
    for (const ports of [
      [`--http.port=${new URL(first.url).port}`, '--rpc.port=0', '--ops.port=0'],
      [`--rpc.port=${first.rpc.split(':')[1]}`, '--http.port=0', '--ops.port=0'],
      [`--ops.port=${new URL(first.ops).port}`, '--http.port=0', '--rpc.port=0'],
    ] as const) {
      expectRemedy(await runBingo(['--role=api', ...ports], { env }), 1, 'is in use')
    }
    expect(await first.stop()).toBe(0)
  })
  test('a database that cannot be reached: 1', async () => {
    const env = { ...beside, BINGO_DATABASE_URL: `mysql://root:hunter2@127.0.0.1:${freePort()}/x`, BINGO_AUTH_KEY: key }
    const failed = await runBingo(['--role=api'], { env })
    expectRemedy(failed, 1, 'cannot use the database x at 127.0.0.1', 'ECONNREFUSED', 'BINGO_DATABASE_URL')
    expect(failed.stderr).not.toContain('hunter2')
  })
  test('a SQLite path that cannot be one: 1', async () => {
    using folder = temporaryFolder()
    writeFileSync(`${folder.path}/file`, 'x')
    writeFileSync(`${folder.path}/no.db`, 'this is no database, '.repeat(500))
    expectRemedy(
      await runBingo(['--role=api', '--ops.port=0'], { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/file/b.db` } }),
      1,
      `${folder.path}/file`,
    )
    expectRemedy(
      await runBingo(['--role=api', '--ops.port=0'], { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/no.db` } }),
      1,
      'cannot open the SQLite database',
      'not a database',
    )
  })
  for (const name of ['mariadb', 'mysql'] as const)
    testOn([name, 'redis'], `old tables on ${name}: 1, with the command that brings them up to date`, async () => {
      const backing = (await openBacking(name)) as Backing
      const { env = {} } = backing.options
      expectRemedy(
        await runBingo(['--role=api', '--http.port=0', '--rpc.port=0', '--ops.port=0'], { env }),
        1,
        '0001_user',
        "'bingo migrate up'",
        '--migrate',
      )
      expect((await runBingo(['migrate', 'status'], { env })).stdout).toBe(allOf('pending'))
      expect(await runBingo(['migrate', 'up'], { env })).toMatchObject({ stdout: allOf('applied'), code: 0 })
      expect((await runBingo(['migrate', 'up'], { env })).stdout).toBe('')
      const bingo = await startBingo({ env })
      expect(await bingo.stop()).toBe(0)
      expect((await runBingo(['migrate', 'down', '--json'], { env })).stdout).toBe(`[{"id":"${newest}","state":"undone"}]\n`)
      await backing.dispose()
    })
})

describe('configuration', () => {
  test('flags stand over variables, variables over the file, the file over defaults, and each is shown with its source', async () => {
    using folder = temporaryFolder()
    const file = `${folder.path}/bingo.toml`
    writeFileSync(file, '[http]\nport = 1001\nhost = "127.0.0.2"\n[admin]\nport = 1002\n')
    writeFileSync(`${folder.path}/url`, 'mysql://ada:hunter2@db.internal:3306/shop\n')
    const env = {
      BINGO_ADMIN_PORT: '2002',
      BINGO_BOT_PORT: '2003',
      BINGO_DATABASE_URL_FILE: `${folder.path}/url`,
      BINGO_DATABASE_REPLICA_URLS: 'mysql://ada:hunter2@one.internal/shop, mysql://ada:hunter2@two.internal/shop',
      BINGO_AUTH_KEY: key,
      BINGO_LOG_LEVEL: '',
    }
    const args = ['config', 'show', '--json', '--config', file, '--bot.port=3003', '--role', 'api']
    const { stdout, code } = await runBingo(args, { env })
    expect(code).toBe(0)
    const shown = Object.fromEntries(
      (JSON.parse(stdout) as { key: string; value: unknown; source: string }[]).map(({ key, value, source }) => [key, [value, source]]),
    )
    expect(shown).toMatchObject({
      role: ['api', 'flag --role'],
      'http.port': [1001, `file ${file}`],
      'http.host': ['127.0.0.2', `file ${file}`],
      'admin.port': [2002, 'env BINGO_ADMIN_PORT'],
      'bot.port': [3003, 'flag --bot.port'],
      'log.level': ['info', 'default'],
      'database.url': ['mysql://ada:••••@db.internal:3306/shop', 'env BINGO_DATABASE_URL_FILE'],
      'database.replicaUrls': [
        ['mysql://ada:••••@one.internal/shop', 'mysql://ada:••••@two.internal/shop'],
        'env BINGO_DATABASE_REPLICA_URLS',
      ],
      'auth.key': ['••••', 'env BINGO_AUTH_KEY'],
    })
    expect(stdout).not.toContain('hunter2')
    expect(stdout).not.toContain(key)
    expect((await runBingo(['config', 'show'], { env })).stdout).toMatch(/^admin\.port +2002 {2}\(env BINGO_ADMIN_PORT\)$/m)
    expect(await runBingo(['config', 'check'], { env })).toMatchObject({ code: 0, stderr: 'the configuration is valid\n' })
  })
  test('a secret that is given twice, or whose file cannot be read, is a problem', async () => {
    expectRemedy(
      await runBingo(['config', 'check'], { env: { BINGO_AUTH_KEY: key, BINGO_AUTH_KEY_FILE: '/x' } }),
      78,
      'both BINGO_AUTH_KEY and BINGO_AUTH_KEY_FILE are set',
    )
    expectRemedy(
      await runBingo(['config', 'check'], { env: { BINGO_AUTH_KEY_FILE: '/nowhere' } }),
      78,
      'the file that BINGO_AUTH_KEY_FILE names cannot be read',
    )
  })
  test('the example file is up to date, is valid, and says only defaults', async () => {
    const { stdout } = await runBingo(['config', 'example'])
    expect(stdout).toBe(await Bun.file('config/bingo.example.toml').text())
    const shown = await runBingo(['config', 'show', '--json', '--config', 'config/bingo.example.toml'])
    const bare = await runBingo(['config', 'show', '--json'])
    const values = (text: string) => (JSON.parse(text) as { key: string; value: unknown }[]).map(({ key, value }) => [key, value])
    expect(values(shown.stdout)).toEqual(values(bare.stdout))
  })
  test('neither a .env file nor a bunfig.toml of the working folder changes anything', async () => {
    using folder = temporaryFolder()
    writeFileSync(`${folder.path}/.env`, 'BINGO_HTTP_PORT=1\n')
    writeFileSync(`${folder.path}/bunfig.toml`, 'preload = ["./evil.ts"]\n')
    writeFileSync(`${folder.path}/evil.ts`, 'console.log("EVIL")\n')
    const { stdout } = await runBingo(['config', 'show'], { cwd: folder.path })
    expect(stdout).toMatch(/^http\.port +8080 +\(default\)$/m)
    expect(stdout).not.toContain('EVIL')
  })
})

describe('commands', () => {
  test('help says the roles, the commands and every setting', async () => {
    const { stdout, code } = await runBingo(['--help'])
    expect(code).toBe(0)
    for (const word of ['--role=all', 'scheduler', 'bingo migrate status|up|down', '--http.port', 'BINGO_HTTP_PORT', 'BINGO_AUTH_KEY'])
      expect(stdout).toContain(word)
    expect((await runBingo(['-h'])).stdout).toBe(stdout)
  })
  test('the version is that of the manifest', async () => {
    const { version } = await Bun.file('package.json').json()
    expect((await runBingo(['--version'])).stdout).toBe(`${version}\n`)
  })
  test('roles are listed with what they serve', async () => {
    expect((await runBingo(['roles'])).stdout).toContain(
      'api        Serves the public HTTP API, and gRPC to other services. Modules: user, ',
    )
    expect(JSON.parse((await runBingo(['roles', '--json'])).stdout)).toHaveLength(4)
  })
  test('the OpenAPI document is the one that the server shows', async () => {
    using folder = temporaryFolder()
    const bingo = await startBingo({ env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
    const shown = await (await fetch(`${bingo.url}/swagger/json`)).json()
    expect(JSON.parse((await runBingo(['openapi', '--role=api'])).stdout)).toEqual(shown)
    await bingo.stop()
  })
  test('migrate status makes no database, and says what is pending', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/data/b.db` }
    for (const action of ['status', 'down']) {
      const { stdout, stderr, code } = await runBingo(['migrate', action], { env })
      expect([stdout, code]).toEqual([action === 'status' ? allOf('pending') : '', 0])
      expect(stderr).toStartWith('bingo: there is no database yet')
    }
    expect(existsSync(`${folder.path}/data`)).toBe(false)
  })
  test('migrate says each statement on stderr, and what differs afterwards; a start warns of it', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` }
    const up = await runBingo(['migrate', 'up'], { env })
    expect([up.stdout, up.stderr.split('\n')[1]]).toEqual([allOf('applied'), 'applying 0001_user: statement 2 of 5'])
    const asDeclared = await runBingo(['migrate', 'status'], { env })
    expect([asDeclared.code, asDeclared.stderr]).toEqual([0, ''])
    expect(asDeclared.stdout).toMatch(new RegExp(`^${ids.map(id => `${id} {2}\\S+Z\\n`).join('')}$`))

    const raw = new SqliteFile(`${folder.path}/b.db`)
    raw.run('drop index "user_email"')
    raw.close()
    const difference = 'table user has no unique index on (email)'
    const drifted = await runBingo(['migrate', 'status'], { env })
    expect([drifted.code, drifted.stdout.split('\n')[ids.length]]).toEqual([1, `difference: ${difference}`])
    expect(drifted.stderr).toContain('not as this executable declares them')
    const asJson = await runBingo(['migrate', 'status', '--json'], { env })
    expect([asJson.code, JSON.parse(asJson.stdout)]).toEqual([
      1,
      { migrations: ids.map(id => ({ id, state: expect.stringMatching(/Z$/) })), differences: [difference] },
    ])
    const bingo = await startBingo({ env })
    expect(await bingo.stop()).toBe(0)
    expect(bingo.log).toContainEqual(
      expect.objectContaining({ level: 'warn', msg: 'the tables are not as declared', count: 1, differences: [difference] }),
    )
  })
  test('a migration whose text is not what was applied: 1, with its name and what to do', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` }
    await runBingo(['migrate', 'up'], { env })
    const raw = new SqliteFile(`${folder.path}/b.db`)
    raw.run(`update "migration" set "checksum" = ? where "id" = '0001_user'`, ['0'.repeat(64)])
    raw.close()
    for (const args of [
      ['migrate', 'status'],
      ['migrate', 'up'],
      ['migrate', 'down'],
      ['--role=api', '--http.port=0', '--rpc.port=0', '--ops.port=0'],
    ])
      expectRemedy(await runBingo(args, { env }), 1, '0001_user has been changed since it was applied', 'restore the text', 'new migration')
  })
  test('healthcheck exits 0 while the process lives and 1 when it does not', async () => {
    using folder = temporaryFolder()
    const opsPort = freePort()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db`, BINGO_OPS_PORT: String(opsPort) }
    expectRemedy(await runBingo(['healthcheck'], { env }), 1, 'does not answer')
    const bingo = await startBingo({ env, args: ['--ops.host=0.0.0.0'], roles: 'scheduler' })
    const { port } = new URL(bingo.ops)
    expect(await runBingo(['healthcheck', '--role=scheduler'], { env: { ...env, BINGO_OPS_PORT: port } })).toMatchObject({
      code: 0,
      stderr: '',
    })
    await bingo.stop()
  })
})

describe('the embedded key', () => {
  test('two processes that start at once on an empty folder share one key, readable by its owner alone', async () => {
    using folder = temporaryFolder()
    const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/data/b.db` }
    const both = await Promise.all([startBingo({ env }), startBingo({ env })])
    const path = `${folder.path}/data/auth.key`
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(Buffer.from(await Bun.file(path).text(), 'base64')).toHaveLength(32)
    expect([...new Bun.Glob('auth.key*').scanSync(`${folder.path}/data`)]).toEqual(['auth.key'])
    for (const bingo of both) expect(await bingo.stop()).toBe(0)
  })
  test('a folder that cannot be made is named', async () => {
    const failed = await runBingo(['--role=api', '--ops.port=0'], { env: { BINGO_DATABASE_URL: 'sqlite:/proc/nowhere/b.db' } })
    expectRemedy(failed, 1, '/proc/nowhere')
  })
})
