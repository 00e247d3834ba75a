import { describe, expect } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { settings } from '@/core/config/settings'
import { type RunningBingo, startBingo, startTimeoutMs, temporaryFolder } from '../bingo'
import { type Client as Caller, newServiceKey } from '../clients'
import { startDiscord } from '../chat/fake-discord'
import { freePort } from '../servers'
import { built, testWith } from './common'
import { drainMs, type Gateway, nginx, startApi, startGateway } from './gateway'

const gatewayNeeds = { ...built, nginx: nginx !== null }

describe('the gateway', () => {
  testWith(gatewayNeeds, 'loses no request while both API processes are restarted, one after the other', async () => {
    await using site = await startSite()
    const load = startLoad(site)
    await until('some users have signed up', () => load.signedUp.size >= 3)

    for (const which of [0, 1] as const) {
      expect(await site.apis[which].stop()).toBe(0)
      const [answered, signedUp] = [load.answered(), load.signedUp.size]
      await until('the other has answered alone for a while', () => load.answered() > answered + 400 && load.signedUp.size > signedUp + 4)
      await site.startAgain(which)
    }
    await load.stop()

    expect(load.failures).toEqual([])
    for (const [id, username] of load.signedUp) {
      const response = await fetch(`${site.gateway.url}/api/v1/users/${id}`, { headers: site.service.headers })
      expect(await response.json()).toMatchObject({ id, username })
    }
  })

  testWith(gatewayNeeds, 'answers every read although an API process is killed', async () => {
    await using site = await startSite()
    const load = startLoad(site, 'reads')
    await until('some have been answered', () => load.answered() > 100)
    await site.apis[0].stop('SIGKILL')
    const answered = load.answered()
    await until('the other has answered alone for a while', () => load.answered() > answered + 400)
    await site.startAgain(0)
    await load.stop()
    expect(load.failures).toEqual([])
  })

  testWith(gatewayNeeds, 'passes on what the API answers, and who asks, under the id of the caller', async () => {
    await using site = await startSite()
    const { url } = site.gateway
    const missing = await fetch(`${url}/api/v1/nothing`, { headers: { 'x-request-id': 'from-the-caller' } })
    expect(missing.status).toBe(404)
    expect(missing.headers.get('x-request-id')).toBe('from-the-caller')
    expect(await missing.json()).toMatchObject({ code: 'NotFound.Route', requestId: 'from-the-caller' })
    expect((await fetch(`${url}/swagger`)).status).toBe(200)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)

    const forged = await fetch(`${url}/api/v1/users`, { headers: { 'x-request-id': 'not fit for "logs"' } })
    expect(forged.headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/)
    expect(forged.headers.get('server')).toBe('nginx')
  })

  testWith(gatewayNeeds, 'passes on to the bot what platforms send, byte by byte', async () => {
    using folder = temporaryFolder()
    const discord = await startDiscord()
    const bot = await startBingo({
      roles: 'bot',
      env: { BINGO_DATABASE_URL: `sqlite:${join(folder.path, 'bingo.db')}`, ...discord.env },
    })
    const gateway = await startGateway(folder.path, [1, 1], Number(new URL(bot.url).port))
    const answered = await discord.send(gateway.url, { type: 1 })
    expect([answered.status, await answered.json()]).toEqual([200, { type: 1 }])
    const spaced = ({ body }: { body: Uint8Array }) => ({ body: Buffer.concat([body, Buffer.from(' ')]) })
    expect((await discord.send(gateway.url, { type: 1 }, { mutate: spaced })).status).toBe(401)
    const off = await fetch(`${gateway.url}/bot/telegram`, { method: 'POST' })
    expect(await off.json()).toMatchObject({ code: 'NotFound.NoPlatform' })
    await Promise.all([gateway.stop(), bot.stop(), discord.stop()])
  })

  testWith(gatewayNeeds, 'answers errors of its own in the form of all others', async () => {
    await using site = await startSite()
    const { url } = site.gateway
    const post = (bytes: number) =>
      fetch(`${url}/api/v1/users`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: 'x'.repeat(bytes) })
    const limit = settings.properties.http.properties.bodyLimitBytes.default as number
    const ofBingo = await post(limit + 1)
    expect(await ofBingo.json()).toMatchObject({
      status: 413,
      code: 'TooLarge.Body',
      errors: [{ detail: expect.stringContaining(`${limit}`) }],
    })
    const ofGateway = await post(3 * limit)
    expect(ofGateway.status).toBe(413)
    expect(ofGateway.headers.get('content-type')).toBe('application/problem+json')
    expect(await ofGateway.json()).toMatchObject({
      status: 413,
      code: 'TooLarge.Gateway',
      requestId: ofGateway.headers.get('x-request-id'),
    })

    await Promise.all(site.apis.map(api => api.stop()))
    const unreachable = await fetch(`${url}/api/v1/users`)
    expect(unreachable.status).toBe(502)
    expect(await unreachable.json()).toMatchObject({ status: 502, code: 'Unavailable.Gateway' })
    expect((await fetch(`${url}/livez`)).status).toBe(200)
  })
})

interface Site extends AsyncDisposable {
  gateway: Gateway
  service: Caller
  apis: [RunningBingo, RunningBingo]
  /** Starts one that has stopped, on the port it had, and waits until the gateway sends it requests again. */
  startAgain(which: 0 | 1): Promise<void>
}

/** Two API processes on one database, behind the gateway. */
async function startSite(): Promise<Site> {
  const folder = temporaryFolder()
  const data = join(folder.path, 'data')
  mkdirSync(data)
  const ports = [freePort(), freePort()] as const
  const start = (which: 0 | 1) => startApi(ports[which], join(data, 'bingo.db'))
  const apis: [RunningBingo, RunningBingo] = [await start(0), await start(1)]
  const gateway = await startGateway(folder.path, ports)
  return {
    gateway,
    service: await newServiceKey({ url: `sqlite:${join(data, 'bingo.db')}` }),
    apis,
    async startAgain(which) {
      apis[which] = await start(which)
      const seen = (await gateway.accessLog()).length
      const address = `127.0.0.1:${ports[which]}`
      await until('it is in rotation again', async () =>
        (await gateway.accessLog()).slice(seen).some(({ upstream, status }) => upstream === address && status === 200),
      )
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([gateway.stop(), ...apis.map(api => api.stop())])
      folder[Symbol.dispose]()
    },
  }
}

const waitLimitMs = startTimeoutMs + 10 * drainMs

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitLimitMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await Bun.sleep(10)
  }
}

type Client = () => Promise<void>

/** Clients that ask one request after the other on connections that are kept alive, and note each answer that should not be. */
function startLoad({ gateway: { url }, service }: Site, what: 'reads' | 'everything' = 'everything') {
  const failures: string[] = []
  const signedUp = new Map<string, string>()
  let answered = 0
  let isStopped = false

  async function ask(path: string, wanted: number, body?: unknown): Promise<Record<string, unknown>> {
    const init =
      body === undefined
        ? { headers: service.headers }
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    try {
      const response = await fetch(`${url}${path}`, init)
      const text = await response.text()
      answered++
      if (response.status !== wanted) failures.push(`${path}: ${response.status}, not ${wanted}: ${text}`)
      return JSON.parse(text) as Record<string, unknown>
    } catch (thrown) {
      failures.push(`${path}: ${(thrown as Error).message}`)
      return {}
    }
  }

  const readers: Client[] = [
    ...Array.from({ length: 3 }, () => async () => void (await ask('/api/v1/users', 200))),
    ...Array.from({ length: 3 }, () => async () => {
      const id = [...signedUp.keys()].at(-1)
      if (id) await ask(`/api/v1/users/${id}`, 200)
    }),
  ]
  const writers: Client[] = [
    // Refused before its password is hashed, so there are many of them: a POST is what a gateway may not send twice.
    ...Array.from({ length: 4 }, () => async () => void (await ask('/api/v1/users', 422, { username: 'no' }))),
    async () => {
      const username = `user${answered}-${signedUp.size}`
      const { id } = await ask('/api/v1/users', 201, { username, email: `${username}@example.com`, password: 'correct horse battery' })
      if (typeof id === 'string') signedUp.set(id, username)
      await Bun.sleep(50)
    },
  ]
  const clients = what === 'reads' ? readers : [...readers, ...writers]
  const running = clients.map(async client => {
    while (!isStopped) {
      await client()
      await Bun.sleep(3)
    }
  })
  return {
    failures,
    signedUp,
    answered: () => answered,
    async stop() {
      isStopped = true
      await Promise.all(running)
    },
  }
}
