import { expect, test } from 'bun:test'
import { roles } from '@roles'
import { modulesOf } from '@/app'
import { buildModules } from '@/core/module'
import type { Ports } from '@/core/ports'
import { faultsOf } from '@/core/schema'
import { Permission } from './schema'

const unopened = new Proxy({} as Ports, { get: () => ({}) })

interface Hooks {
  body?: { properties?: Record<string, unknown> }
  detail?: { 'x-access'?: string[] }
}
const routes = [...buildModules(modulesOf(roles), unopened).values()].flatMap(({ admin }) =>
  (admin?.routes ?? []).map(({ method, path, hooks }) => ({ name: `${method} ${path}`, ...(hooks as Hooks) })),
)

test('no administrator chooses the password of somebody else: what the admin server takes of one is to log in with', () => {
  expect(routes.length).toBeGreaterThan(15)
  const taking = routes.filter(({ body }) => Object.keys(body?.properties ?? {}).some(name => /password|hash/i.test(name)))
  expect(taking.map(({ name }) => name)).toEqual(['POST /sessions'])
})

test('nobody signs up as an administrator: strangers may log in and refresh, and nothing else', () => {
  const open = routes.filter(({ detail }) => detail?.['x-access']?.includes('everyone'))
  expect(open.map(({ name }) => name).toSorted()).toEqual(['POST /sessions', 'POST /sessions/refresh'])
})

test('each permission that a route asks for can be given', () => {
  const named = routes.flatMap(({ detail }) => (detail?.['x-access'] ?? []).flatMap(rule => /^admin\((.+)\)$/.exec(rule)?.[1] ?? []))
  expect(named.length).toBeGreaterThan(5)
  expect(named.filter(name => faultsOf(Permission, name).length > 0)).toEqual([])
})
