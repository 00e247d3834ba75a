import { describe, expect, test } from 'bun:test'
import { cpSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DCLinter } from 'dclint'
import { roles } from '@roles'
import { settings } from '@/core/config/settings'
import manifest from '../../../package.json' with { type: 'json' }
import { runBingo, temporaryFolder } from '../bingo'
import { built, root, testWith, unknownVariables } from './common'

const deploy = join(root, 'deploy')

describe('the compose file', () => {
  interface ComposeService {
    image: string
    build?: string
    command?: string[]
    user?: string
    environment?: Record<string, string>
    secrets?: string[]
    networks: string[] | Record<string, { aliases?: string[] }>
    ports?: string[]
    depends_on?: Record<string, { condition: string }>
    read_only?: boolean
    cap_drop?: string[]
    security_opt?: string[]
    restart?: string
    stop_grace_period?: string
    healthcheck?: { test?: string[]; disable?: boolean }
    deploy?: { resources: { limits: Record<string, unknown> } }
    configs?: { source: string; target: string }[]
  }
  interface Compose {
    services: Record<string, ComposeService>
    secrets: Record<string, { file: string }>
    configs: Record<string, { file: string }>
    networks: Record<string, { internal?: boolean }>
  }
  const path = join(deploy, 'compose.yaml')
  const compose = Bun.YAML.parse(readFileSync(path, 'utf8')) as Compose
  const services = Object.entries(compose.services)
  const ofBingo = services.filter(([, { image }]) => image.startsWith('bingo:'))

  test('is valid by the Compose Specification, and its linter has nothing to say', () => {
    const rules = {
      // Ours are in the order of reading: what a request meets first stands first.
      'services-alphabetical-order': 0,
      'service-keys-order': 0,
      'top-level-properties-order': 0,
      // As the formatter writes them.
      'require-quotes-in-ports': [2, { quoteType: 'double' }],
      // With `pull_policy: build` the image is never asked for elsewhere, which is what the rule is about.
      'no-build-and-image': [2, { checkPullPolicy: true }],
    } as const
    const linter = new DCLinter({ rules: rules as never, quiet: false, debug: false, exclude: [] })
    const found = linter.lintFiles([path], false).flatMap(({ messages }) => messages)
    expect(found.map(({ rule, line, message }) => `line ${line}: ${message} (${rule})`)).toEqual([])
  })

  test('starts a process of each role, the API twice, behind the gateway', () => {
    const started = ofBingo.flatMap(([, { command }]) => /^--role=(.+)$/.exec(command?.[0] ?? '')?.[1] ?? [])
    expect(started.toSorted()).toEqual(['api', ...roles.map(({ name }) => name)].toSorted())
    expect(Object.keys(compose.services['gateway']?.depends_on ?? {})).toEqual(['api-1', 'api-2'])
    const gateway = readFileSync(join(deploy, 'nginx.conf'), 'utf8')
    for (const name of ['api-1', 'api-2']) expect(gateway).toContain(`server ${name}:8080 `)
    expect(compose.configs['nginx']?.file).toBe('./nginx.conf')
  })

  test('has a bot that reaches the platforms, is reached by them, and finds every process of the API', () => {
    const { bot } = compose.services
    // Who is in an internal network alone reaches nobody outside.
    expect(bot?.networks).toEqual(['front', 'back'])
    const [, host = ''] = /^dns:\/\/\/([\w-]+):50051$/.exec(bot?.environment?.['BINGO_RPC_TARGET'] ?? '') ?? []
    for (const name of ['api-1', 'api-2']) expect(compose.services[name]?.networks).toMatchObject({ back: { aliases: [host] } })
    for (const platform of ['TELEGRAM', 'DISCORD']) {
      expect(bot?.environment?.[`BINGO_${platform}_TOKEN_FILE`]).toBe(`\${BINGO_${platform}_TOKEN_FILE:-}`)
      expect(bot?.secrets).toContain(`${platform.toLowerCase()}_token`)
    }
    for (const [name, { secrets = [] }] of ofBingo.filter(([name]) => name !== 'bot')) {
      expect(
        secrets.filter(secret => secret.endsWith('_token')),
        name,
      ).toEqual([])
    }
    expect(readFileSync(join(deploy, 'nginx.conf'), 'utf8')).toContain('server bot:8082 ')
  })

  test('waits with every process until the tables are up to date', () => {
    expect(compose.services['migrate']?.command).toEqual(['migrate', 'up'])
    for (const [name, { depends_on = {} }] of services) {
      for (const other of Object.keys(depends_on)) expect(Object.keys(compose.services), `${name} waits for ${other}`).toContain(other)
    }
    for (const [name, { depends_on }] of ofBingo.filter(([name]) => name !== 'migrate')) {
      expect(depends_on?.['migrate'], name).toEqual({ condition: 'service_completed_successfully' })
    }
  })

  test('sets no variable that is not a setting', () => {
    for (const [name, { environment = {} }] of services) expect(unknownVariables(Object.keys(environment)), name).toEqual([])
  })

  test('holds no secret: each is a file of a folder that git ignores', () => {
    for (const [name, { environment = {} }] of services) {
      const inline = Object.keys(environment).filter(
        variable => /PASSWORD|KEY|TOKEN|URL|SECRET/.test(variable) && !/_FILE$|_PUBLIC_/.test(variable),
      )
      expect(inline, name).toEqual([])
    }
    for (const [name, { file }] of Object.entries(compose.secrets)) expect(file).toBe(`./secrets/${name}`)
    const isIgnored = Bun.spawnSync(['git', 'check-ignore', '--quiet', 'deploy/secrets/auth_key'], { cwd: root })
    expect(isIgnored.exitCode).toBe(0)
  })

  test('names an exact version of every image', () => {
    for (const [name, { image }] of services) expect(image, name).toMatch(/^[\w/.-]+:\d+\.\d+\.\d+(-[\w.]+)?$/)
    for (const [name, { image }] of ofBingo) expect(image, name).toBe(`bingo:${manifest.version}`)
  })

  test('gives no service more than it needs', () => {
    for (const [name, service] of services) {
      expect(service.read_only, name).toBe(true)
      expect(service.cap_drop, name).toEqual(['ALL'])
      expect(service.security_opt, name).toEqual(['no-new-privileges:true'])
      expect(service.restart, name).toBeString()
      expect(Object.keys(service.deploy?.resources.limits ?? {}), name).toEqual(['cpus', 'memory', 'pids'])
      expect(service.healthcheck?.test ?? service.healthcheck?.disable, name).toBeTruthy()
      if (!service.build) expect(service.user, `${name} is not root`).toBeString()
    }
  })

  test('publishes the gateway alone, on loopback, and keeps the databases where nothing else is', () => {
    const published = services.flatMap(([name, { ports = [] }]) => ports.map(port => `${name} ${port}`))
    expect(published).toEqual(['gateway 127.0.0.1:8080:8080'])
    expect(compose.networks['back']).toEqual({ internal: true })
    for (const name of ['mysql', 'redis']) expect(compose.services[name]?.networks).toEqual(['back'])
  })

  test('lets a process finish what it has before it is killed', () => {
    const inImage = /BINGO_SHUTDOWN_DRAIN_MS=(\d+)/.exec(readFileSync(join(root, 'Dockerfile'), 'utf8'))
    const drainMs = Number(inImage?.[1])
    const deadlineMs = settings.properties.shutdown.properties.deadlineMs.default as number
    for (const [name, { stop_grace_period = '0s' }] of ofBingo) {
      expect(Number.parseInt(stop_grace_period, 10) * 1000, name).toBeGreaterThan(drainMs + deadlineMs)
    }
  })

  testWith(built, 'gets its secrets from one command, which changes none that is there', async () => {
    using folder = temporaryFolder()
    cpSync(join(deploy, 'make-secrets.sh'), join(folder.path, 'make-secrets.sh'))
    const make = (env = {}) => Bun.spawnSync([join(folder.path, 'make-secrets.sh')], { env: { ...process.env, ...env } }).exitCode
    const contents = () =>
      Object.fromEntries(Object.entries(compose.secrets).map(([name, { file }]) => [name, readFileSync(join(folder.path, file), 'utf8')]))
    expect(make()).toBe(0)
    const { telegram_token: telegram, discord_token: discord, ...made } = contents()
    expect([telegram, discord]).toEqual(['', ''])
    expect(new Set(Object.values(made)).size).toBe(Object.keys(compose.secrets).length - 2)
    expect(statSync(join(folder.path, 'secrets')).mode & 0o077).toBe(0)
    // A platform may come later.
    expect(make({ BINGO_TELEGRAM_TOKEN: '1:first' })).toBe(0)
    expect(make({ BINGO_TELEGRAM_TOKEN: '1:other', BINGO_MAIL_URL: 'smtp://other.example' })).toBe(0)
    expect(contents()).toEqual({ ...made, telegram_token: '1:first', discord_token: '' })

    const checked = await runBingo(['config', 'show', '--json'], {
      env: {
        BINGO_DATABASE_URL_FILE: join(folder.path, 'secrets/database_url'),
        BINGO_REDIS_URL_FILE: join(folder.path, 'secrets/redis_url'),
        BINGO_AUTH_KEY_FILE: join(folder.path, 'secrets/auth_key'),
        BINGO_MAIL_URL_FILE: join(folder.path, 'secrets/mail_url'),
        BINGO_TELEGRAM_TOKEN_FILE: join(folder.path, 'secrets/telegram_token'),
        BINGO_DISCORD_TOKEN_FILE: '',
      },
    })
    expect(checked.code, checked.stderr).toBe(0)
    const shown = JSON.parse(checked.stdout) as { key: string; value: string }[]
    expect(shown.find(({ key }) => key === 'database.url')?.value).toBe('mysql://bingo:••••@mysql:3306/bingo')
    expect(Buffer.from(made['auth_key'] ?? '', 'base64')).toHaveLength(32)
  })
})
