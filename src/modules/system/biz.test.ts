import { expect, test } from 'bun:test'
import { sentBy } from '@/testing/chat/senders'
import { fakeLog } from '@/testing/fakes'
import { adminCalled, userCalled } from '@/testing/identities'
import { systemBiz } from './biz'
import { systemCommands } from './commands'

const at = '2026-01-31T09:05:00.000Z'
const own = { id: '1', roles: ['bot'], version: '1.2.3', host: 'an-inner-host', pid: 17 }
const process = { ...own, startedAt: at, seenAt: at, isAlive: true }

/** @returns what somebody is told about a bot that runs alone */
async function health(as: Parameters<typeof sentBy>[1]): Promise<string | undefined> {
  const biz = systemBiz({
    processes: { own, roleNames: ['api', 'bot'], list: async () => [process] as never },
    dependencies: { check: async () => [{ name: 'database', isReady: true, latencyMs: 3 }] } as never,
    clock: { nowMs: () => Date.parse(at) },
    log: fakeLog(),
  })
  return systemCommands(biz)[0]?.run({}, sentBy('17', as))
}

const roles = 'Not everything runs.\napi: does not run\nbot: runs'

test('whoever may see every process sees them in private chats only, since others read the rest', async () => {
  const operator = adminCalled('grace', ['system:read'])
  const seen = await health({ identity: operator })
  for (const told of [roles, 'an-inner-host', '1.2.3', 'database: there']) expect(seen).toContain(told)
  expect(await health({ identity: operator, isPrivate: false })).toBe(`${roles}\n\nAsk me in a private chat to see more.`)
  for (const identity of [adminCalled('eve', ['users:read']), userCalled('ada')])
    for (const isPrivate of [true, false]) expect(await health({ identity, isPrivate })).toBe(roles)
})
