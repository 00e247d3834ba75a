import { beforeEach, expect, test } from 'bun:test'
import type { Identity } from '@/core/identity'
import { userRpc } from '@/modules/user/rpc'
import { userStore } from '@/modules/user/store'
import { userWatch } from '@/modules/user/watch.biz'
import { accountsOn } from '@/testing/accounts'
import { openBacking } from '@/testing/backings'
import { callingHere } from '@/testing/calling-here'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { adminCalled, userCalled } from '@/testing/identities'
import { useMigrated } from '@/testing/migrated'
import { userLookupBiz } from './biz'

const backing = async () => {
  const opened = await openBacking('sqlite')
  if (!opened) throw new Error('SQLite is always there')
  return opened
}
const scene = useMigrated(backing, ['user', 'userMessage'])
const signal = new AbortController().signal

let ids: Record<'ada' | 'bob', string>
let asked: number
let show: (name: string | undefined, identity: Identity, isPrivate?: boolean) => Promise<string>
beforeEach(async () => {
  const { users } = accountsOn(scene.db)
  const signUp = async (username: string, more: object = {}) =>
    (await users.signUp({ username, email: `${username}@example.com`, password: 'correct horse battery', ...more })).id
  ids = { ada: await signUp('ada', { nickname: 'Ada Lovelace' }), bob: await signUp('bob') }
  const [log, metrics] = [fakeLog(), fakeMetrics()]
  const watch = userWatch({ db: scene.db, users: userStore, stopping: signal, log, metrics })
  asked = 0
  const counted = {
    ...users,
    get(id: string) {
      asked++
      return users.get(id)
    },
    getByUsername(name: string) {
      asked++
      return users.getByUsername(name)
    },
  }
  const rpc = callingHere([async () => userRpc(counted, watch)])
  const biz = userLookupBiz({ rpc })
  show = (name, identity, isPrivate = true) => biz.show(name, { identity, address: 'telegram:7' }, { isPrivate, signal })
})

test('a user is shown their own account, with or without its name', async () => {
  const shown = `ada (Ada Lovelace)\nstatus: active\ne-mail: ada@example.com\nsince: 2026-01-31\nid: ${ids.ada}`
  for (const name of [undefined, 'ada', ' Ada ']) expect(await show(name, userCalled(ids.ada))).toBe(shown)
})

test('a user is told of nobody else, and not whether there is one', async () => {
  const told = await Promise.all(
    ['bob', 'nobody', 'x y', ''].map(name => show(name, userCalled(ids.ada)).catch(({ code, message }) => [code, message])),
  )
  expect(told).toEqual(told.map(() => ['PermissionDenied.NotYours', 'You can look at your own account only: type /user without a name.']))
  // Each asks for the own account alone.
  expect(asked).toBe(told.length)
})

test('an administrator is shown anybody, and says whom', async () => {
  expect(await show('BOB', adminCalled('root'))).toStartWith('bob\nstatus: active\ne-mail: bob@example.com\n')
  await expect(show('nobody', adminCalled('root'))).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
  await expect(show(undefined, adminCalled('root'))).rejects.toMatchObject({ code: 'InvalidArgument.WhomMissing' })
  const { users } = accountsOn(scene.db)
  await users.setStatus(scene.db, ids.bob, 'suspended')
  expect(await show('bob', adminCalled('root'))).toContain('\nstatus: suspended\n')
})

test('where others read along there is no e-mail address', async () => {
  for (const [name, identity] of [
    ['ada', adminCalled('root')],
    [undefined, userCalled(ids.ada)],
  ] as const) {
    const told = await show(name, identity, false)
    expect(told).not.toContain('@')
    expect(told).toContain('only in a private chat')
  }
})

test('an account that is gone is told as that', async () => {
  const { users } = accountsOn(scene.db)
  await scene.db.tx(tx => users.remove(tx, ids.ada, {}))
  await expect(show(undefined, userCalled(ids.ada))).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
})
