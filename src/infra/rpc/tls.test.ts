import { afterEach, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { credentials } from '@grpc/grpc-js'
import { service } from '@/core/access'
import type { Identity } from '@/core/identity'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { temporaryFolder } from '@/testing/bingo'
import { authorityIn } from '@/testing/certificates'
import { recognizing, userCalled } from '@/testing/identities'
import { rawClient } from '@/testing/rpc/raw-client'
import { startRpc, type TestSettings } from '@/testing/rpc/server'
import { certificateIdentities } from './certificate'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const folder = temporaryFolder()
const authority = authorityIn(folder.path)
const stranger = authorityIn(folder.path, 'stranger')
const server = authority.issue('server', 'DNS:localhost,IP:127.0.0.1')
const files = { tlsCertFile: server.cert, tlsKeyFile: server.key }
const byId = { by: { case: 'id', value: '1' } } as const

/** Answers with who calls. */
async function serving(rpc: TestSettings['rpc'], settings: TestSettings = {}) {
  const seen: Identity[] = []
  const getUser = {
    access: [service('users:read')],
    async run(_input: unknown, { asking }: { asking: { identity: Identity } }) {
      seen.push(asking.identity)
      return {}
    },
  }
  const running = await startRpc({ getUser }, { rpc: { ...files, ...rpc }, ...settings })
  open.push(() => running.server.stop())
  return { ...running, seen }
}

function callers(url: string, of?: { cert: string; key: string }, ca = authority.ca) {
  const [root, key, cert] = [ca, of?.key, of?.cert].map(path => (path === undefined ? null : readFileSync(path)))
  // Bun's TLS takes no address for the name of a server.
  const client = rawClient(
    url.replace('127.0.0.1', 'localhost'),
    UserService,
    credentials.createSsl(root ?? null, key ?? null, cert ?? null),
  )
  open.push(() => client.close())
  return client
}

test('with a certificate it speaks TLS alone', async () => {
  const bot = { kind: 'service', id: 'bot', scopes: new Set(['users:read']) } as const
  const { url, seen, log } = await serving({}, { recognizer: recognizing({ token: bot }) })
  expect(url).toStartWith('grpcs://')
  expect((await callers(url).call('getUser', byId, { token: 'token' })).code).toBe(0)
  expect(seen).toEqual([bot])
  expect((await callers(url, undefined, stranger.ca).call('getUser', byId, { deadlineMs: 1000 })).code).toBe(14)
  const clear = rawClient(url, UserService)
  expect((await clear.call('getUser', byId, { deadlineMs: 1000 })).code).toBe(14)
  clear.close()
  expect(log.lines.filter(({ message }) => message !== 'call')).toEqual([])
})

test('with authorities it asks everybody for a certificate of theirs', async () => {
  const { url, seen } = await serving({ tlsCaFile: authority.ca, services: ['reports.example=users:read'] })
  expect((await callers(url).call('getUser', byId, { deadlineMs: 1000 })).code).toBe(14)
  const forged = stranger.issue('forged', 'DNS:reports.example')
  expect((await callers(url, forged).call('getUser', byId, { deadlineMs: 1000 })).code).toBe(14)
  expect(seen).toEqual([])
  const reports = authority.issue('reports', 'DNS:reports.example')
  expect((await callers(url, reports).call('getUser', byId)).code).toBe(0)
  expect(seen).toEqual([{ kind: 'service', id: 'reports.example', scopes: new Set(['users:read']) }])
})

test('a certificate is its URI, else its host, else its common name; of others nothing may be done', async () => {
  const services = ['spiffe://house/reports=users:read', 'host.example=users:read', 'by-name=users:read', 'pass.example=users:read']
  const { url, seen } = await serving({ tlsCaFile: authority.ca, services })
  const call = async (name: string, alternatives: string, commonName?: string) =>
    (await callers(url, authority.issue(name, alternatives, commonName)).call('getUser', byId)).error?.code
  expect(await call('a', 'URI:spiffe://house/reports,DNS:unknown.example')).toBeUndefined()
  expect(await call('b', 'DNS:host.example', 'unknown')).toBeUndefined()
  expect(await call('c', '', 'by-name')).toBeUndefined()
  expect(seen.map(identity => 'id' in identity && identity.id)).toEqual(['spiffe://house/reports', 'host.example', 'by-name'])
  const refused = 'PermissionDenied.ServiceScope'
  expect(await call('d', 'DNS:unknown.example')).toBe(refused)
  // What counts is there, so the rest is nobody's.
  expect(await call('e', 'URI:spiffe://house/unknown,DNS:host.example')).toBe(refused)
  expect(await call('f', 'DNS:unknown.example', 'by-name')).toBe(refused)
  expect(seen.length).toBe(3)
})

test('a token says more than the certificate of the same call, also one that is not valid', async () => {
  const recognizer = recognizing({ ada: userCalled('1') })
  const { url, log } = await serving({ tlsCaFile: authority.ca, services: ['reports.example=users:read'] }, { recognizer })
  const client = callers(url, authority.issue('own', 'DNS:reports.example'))
  expect((await client.call('getUser', byId)).code).toBe(0)
  expect((await client.call('getUser', byId, { token: 'nobody' })).error?.code).toBe('Unauthenticated.Token')
  expect((await client.call('getUser', byId, { token: 'ada' })).error?.code).toBe('PermissionDenied.NotForYou')
  expect(log.lines.map(({ fields }) => fields['actor'])).toEqual(['service:reports.example', undefined, 'user:1'])
})

test('a name that could pass for several is nobody’s', () => {
  const identityOf = certificateIdentities(['spiffe://house/reports=users:read', 'ca=users:read'])
  expect(identityOf({ subjectaltname: 'DNS:"a.example\\u002c URI:spiffe://house/reports"', subject: { CN: 'ca' } })).toBeUndefined()
  expect(identityOf({ subjectaltname: 'IP Address:127.0.0.1', subject: { CN: 'ca' } })).toBeUndefined()
  expect(identityOf({ subject: { CN: ['ca', 'other'] } })).toBeUndefined()
  expect(identityOf({})).toBeUndefined()
})

test('whoever connects and does not shake hands keeps nothing from stopping', async () => {
  const { url, server } = await serving({})
  const silent = connect(Number(new URL(url).port), '127.0.0.1')
  await new Promise<void>(resolve => silent.once('connect', () => resolve()))
  const began = performance.now()
  await server.stop()
  expect(performance.now() - began).toBeLessThan(2000)
  silent.destroy()
})

test('files that are none are said with the setting', async () => {
  const failing = (rpc: TestSettings['rpc']) => serving(rpc).catch(thrown => thrown as Error & { exitCode: number })
  expect(await failing({ tlsCertFile: '/nowhere.pem' })).toMatchObject({
    exitCode: 78,
    message: expect.stringContaining('rpc.tlsCertFile'),
  })
  const text = `${folder.path}/text.pem`
  writeFileSync(text, '-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n')
  expect(await failing({ tlsCertFile: text })).toMatchObject({ exitCode: 78, message: expect.stringContaining('rpc.tlsCertFile') })
  const other = authority.issue('other', '')
  expect(await failing({ tlsKeyFile: other.key })).toMatchObject({ exitCode: 78, message: expect.stringContaining('rpc.tlsKeyFile') })
})
