import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { exitCodes, StartError } from '@/core/error'
import { createMetrics } from '@/infra/metrics'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { type Authority, authorityIn } from '@/testing/certificates'
import { fakeLog } from '@/testing/fakes'
import { recognizing, serviceCalled } from '@/testing/identities'
import { startRpc } from '@/testing/rpc/server'
import { openRpcClients } from '../open'

/** The client where servers show certificates, and ask for one. */

const undo: (() => unknown)[] = []
let folder: string
let ours: Authority
let server: Record<'tlsCertFile' | 'tlsKeyFile' | 'tlsCaFile', string>
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bingo-rpc-tls-'))
  ours = authorityIn(folder, 'ours')
  const { cert, key } = ours.issue('server', 'DNS:localhost,IP:127.0.0.1')
  server = { tlsCertFile: cert, tlsKeyFile: key, tlsCaFile: ours.ca }
})
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
})

type Files = { tlsCertFile?: string; tlsKeyFile?: string; tlsCaFile?: string }
const client = (target: string, files: Files) => {
  const tokens = { signService: async () => ({ token: 'token', expiresInSeconds: 300 }) }
  const opened = openRpcClients(
    { rpc: { port: 0, target, timeoutMs: 3000, services: [], ...files }, http: { bodyLimitBytes: 1_048_576 } as never },
    { tokens, log: fakeLog(), metrics: createMetrics({ version: '0', roles: [] }), name: 'bot' },
  )
  undo.push(() => opened.close())
  return opened.clients.client(UserService, { scopes: [] })
}

async function startServer(files: Files) {
  const running = await startRpc(
    {
      getUser: {
        access: [everyone()],
        run: async (_, { asking }) => ({ user: { id: 'u', username: (asking.identity as { id?: string }).id ?? '' } }),
      },
    },
    { rpc: files, recognizer: recognizing({ token: serviceCalled('bot', []) }) },
  )
  undo.push(() => running.server.stop())
  return new URL(running.url).port
}
const ask = (users: ReturnType<typeof client>) =>
  users.getUser({ by: { case: 'id', value: 'u' } }).then(
    ({ user }) => user?.username,
    error => error.kind,
  )

test('a server is believed whose certificate is of the authority and of its name, and nobody else', async () => {
  const { tlsCaFile, ...own } = server
  const port = await startServer(own)
  expect(await ask(client(`127.0.0.1:${port}`, { tlsCaFile }))).toBe('bot')
  expect(await ask(client(`dns:///localhost:${port}`, { tlsCaFile }))).toBe('bot')
  expect(await ask(client(`ipv4:127.0.0.1:${port}`, { tlsCaFile }))).toBe('bot')
  const others = authorityIn(folder, 'others')
  expect(await ask(client(`127.0.0.1:${port}`, { tlsCaFile: others.ca }))).toBe('Unavailable')
  // In clear text it says nothing.
  expect(await ask(client(`127.0.0.1:${port}`, {}))).toBe('Unavailable')
  const { cert, key } = ours.issue('elsewhere', 'DNS:elsewhere.example')
  const elsewhere = await startServer({ tlsCertFile: cert, tlsKeyFile: key })
  expect(await ask(client(`127.0.0.1:${elsewhere}`, { tlsCaFile }))).toBe('Unavailable')
  expect(await ask(client(`localhost:${elsewhere}`, { tlsCaFile }))).toBe('Unavailable')
  // Of several addresses each shows the certificate of its own.
  expect(await ask(client(`ipv4:127.0.0.2:1,127.0.0.1:${port}`, { tlsCaFile }))).toBe('bot')
}, 60_000)

test('a server that asks for a certificate is shown one, and who has none is not let in', async () => {
  const port = await startServer(server)
  const { cert, key } = ours.issue('bot', 'DNS:bot.example')
  const { tlsCaFile } = server
  expect(await ask(client(`127.0.0.1:${port}`, { tlsCaFile, tlsCertFile: cert, tlsKeyFile: key }))).toBe('bot')
  expect(await ask(client(`127.0.0.1:${port}`, { tlsCaFile }))).toBe('Unavailable')
  const stranger = authorityIn(folder, 'strangers').issue('stranger', 'DNS:bot.example')
  expect(await ask(client(`127.0.0.1:${port}`, { tlsCaFile, tlsCertFile: stranger.cert, tlsKeyFile: stranger.key }))).toBe('Unavailable')
}, 60_000)

test('files that are no certificates, or lack their other half, are said before anything is called', () => {
  const text = join(folder, 'text')
  writeFileSync(text, 'nothing')
  const { tlsCertFile, tlsKeyFile } = server
  const wrong: [Files, string][] = [
    [{ tlsCaFile: join(folder, 'absent') }, 'rpc.tlsCaFile'],
    [{ tlsCaFile: text }, 'rpc.tlsCaFile'],
    [{ tlsCertFile }, 'rpc.tlsKeyFile'],
    [{ tlsKeyFile }, 'rpc.tlsCertFile'],
    [{ tlsCertFile, tlsKeyFile: folder }, 'rpc.tlsKeyFile'],
  ]
  for (const [files, setting] of wrong) {
    let thrown: unknown
    try {
      client('127.0.0.1:1', files)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(StartError)
    expect((thrown as StartError).message).toStartWith(setting)
    expect((thrown as StartError).exitCode).toBe(exitCodes.configuration)
  }
})
