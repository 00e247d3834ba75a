import { expect, test } from 'bun:test'
import { fakeLog } from '@/testing/fakes'
import { createCredentials } from './credential'

function held() {
  const state = { nowMs: 0, signed: 0, isAway: false, log: fakeLog() }
  const signService = async ({ service, scopes }: { service: string; scopes: readonly string[] }) => {
    if (state.isAway) throw new Error('the database is away')
    return { token: `${service}(${scopes.join(' ')})${++state.signed}`, expiresInSeconds: 300 }
  }
  const credentials = createCredentials({ signService }, { service: 'bot', log: state.log, nowMs: () => state.nowMs })
  return { state, ask: (...scopes: string[]) => credentials.token(scopes) }
}
const settled = () => Bun.sleep(0)

test('a token is signed once for each set of scopes, also for calls at the same time', async () => {
  const { state, ask } = held()
  const first = ask('users:read')
  expect(await Promise.all([first, ask('users:read'), ask('users:list')])).toEqual([
    'bot(users:read)1',
    'bot(users:read)1',
    'bot(users:list)2',
  ])
  // From then on nobody waits for it.
  expect(ask('users:read')).toBe('bot(users:read)1')
  expect(state.signed).toBe(2)
})

test('it is renewed before it ends, while calls go on with the one that is there', async () => {
  const { state, ask } = held()
  await ask()
  state.nowMs = 179_999
  expect(ask()).toBe('bot()1')
  await settled()
  expect(state.signed).toBe(1)
  state.nowMs = 180_000
  expect([ask(), ask()]).toEqual(['bot()1', 'bot()1'])
  await settled()
  expect(ask()).toBe('bot()2')
  expect(state.signed).toBe(2)
})

test('while none can be signed the one that is there is used until shortly before its end, and then calls say why', async () => {
  const { state, ask } = held()
  await ask()
  state.isAway = true
  state.nowMs = 269_999
  expect(ask()).toBe('bot()1')
  await settled()
  expect(state.log.lines.map(({ level, fields }) => [level, String(fields['err'])])).toEqual([['warn', 'Error: the database is away']])
  state.nowMs = 270_000
  expect(ask()).rejects.toThrow('the database is away')
  state.isAway = false
  await settled()
  expect(await ask()).toBe('bot()2')
})
