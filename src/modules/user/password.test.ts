import { expect, test } from 'bun:test'
import { createPasswords, passwordErrors } from '@/infra/passwords'
import { accountsOn } from '@/testing/accounts'
import { onEachBacking } from '@/testing/backings'
import { fakeMetrics } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { userStore } from './store'

const password = 'correct horse battery'

onEachBacking('passwords of accounts', open => {
  const scene = useMigrated(open)

  const realBiz = (passwords = createPasswords({ concurrency: 2, queueLimit: 10 }, fakeMetrics())) =>
    accountsOn(scene.db, { passwords }).users

  test('a password is checked by username or e-mail address, as it is and not as it might be', async () => {
    const biz = realBiz()
    // Spaces at its ends, letters of any script, and no rule about which characters there must be.
    const password = '  pässwörd 密码 🐎 '
    const grace = await biz.signUp({ username: 'grace', email: 'grace@example.com', password })
    for (const login of ['grace', ' GRACE ', 'Grace@example.com']) expect(await biz.verifyPassword(login, password)).toEqual(grace)
    for (const wrong of [password.trim(), password.toUpperCase(), password.normalize('NFD'), '', 'nothing of it'])
      expect(await biz.verifyPassword('grace', wrong)).toBeUndefined()
    expect(await biz.verifyPassword('nobody', password)).toBeUndefined()
    expect(await biz.verifyPassword('nobody@example.com', password)).toBeUndefined()
    await userStore(scene.db).update(grace.id, { status: 'suspended' })
    expect(await biz.verifyPassword('grace', password)).toMatchObject({ status: 'suspended' })
  })

  test('a hash that is weaker than those of today is made anew when the password is at hand, and else stays', async () => {
    const biz = realBiz()
    const { id } = await biz.signUp({ username: 'alan', email: 'alan@example.com', password: password })
    const weak = await Bun.password.hash(password, { algorithm: 'argon2id', memoryCost: 8192, timeCost: 1 })
    const hash = async () => (await userStore(scene.db).get(id, { from: 'primary' }))?.passwordHash
    await userStore(scene.db).update(id, { passwordHash: weak })
    expect(await biz.verifyPassword('alan', 'wrong')).toBeUndefined()
    expect(await hash()).toBe(weak)
    expect(await biz.verifyPassword('alan', password)).toMatchObject({ id })
    const strong = await hash()
    expect(strong).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
    expect(await biz.verifyPassword('alan', password)).toMatchObject({ id })
    expect(await hash()).toBe(strong)
  })

  test('a log-in does not fail because a hash could not be made anew', async () => {
    const real = createPasswords({ concurrency: 1, queueLimit: 10 }, fakeMetrics())
    const busy = async () => {
      throw passwordErrors.Busy()
    }
    await userStore(scene.db).create({
      ...{ username: 'edsger', email: 'edsger@example.com', status: 'active' },
      passwordHash: await Bun.password.hash(password, { algorithm: 'argon2id', memoryCost: 8192, timeCost: 1 }),
    })
    expect(await realBiz({ ...real, hash: busy }).verifyPassword('edsger', password)).toMatchObject({ username: 'edsger' })
  })
})
