import { expect, test } from 'bun:test'
import { roles } from '@roles'
import { modulesOf } from '@/app'
import { buildModules } from '@/core/module'
import type { Ports } from '@/core/ports'

const unopened = new Proxy({} as Ports, { get: () => ({}) })

interface Hooks {
  body?: { properties?: Record<string, unknown> }
  detail?: { 'x-access'?: string[] }
}
const routes = [...buildModules(modulesOf(roles), unopened).values()].flatMap(({ admin }) =>
  (admin?.routes ?? []).map(({ method, path, hooks }) => ({ name: `${method} ${path}`, ...(hooks as Hooks) })),
)

test('no administrator chooses the password of somebody else: what the admin server takes of one shows who calls, or is their own', () => {
  expect(routes.length).toBeGreaterThan(15)
  const taking = routes.filter(({ body }) => Object.keys(body?.properties ?? {}).some(name => /password|hash/i.test(name)))
  // With a code that was handed over by a way that both trust, and with the current one.
  const own = ['POST /invitations/accept', 'POST /me/password']
  const shown = ['POST /sessions', 'POST /sessions/current/proof', 'POST /me/second-factor']
  expect(taking.map(({ name }) => name).toSorted()).toEqual([...shown, ...own].toSorted())
  const me = taking.filter(({ name }) => name.includes(' /me'))
  expect(me.every(({ body }) => 'currentPassword' in (body?.properties ?? {}))).toBe(true)
})

test('nobody signs up as an administrator: strangers may log in, refresh and accept an invitation, and nothing else', () => {
  const open = routes.filter(({ detail }) => detail?.['x-access']?.includes('everyone'))
  expect(open.map(({ name }) => name).toSorted()).toEqual(['POST /invitations/accept', 'POST /sessions', 'POST /sessions/refresh'])
})
